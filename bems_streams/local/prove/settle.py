"""Waits until a cell that gets no more events has nothing left to do: positions at the ends, lanes empty, all calm.

Not here: whether the result is right (judge.py).
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from bems_streams.ports import (
    Extent,
    GroupOffsets,
    LogReader,
    LogUnavailableError,
    StoreCounts,
    StoreReader,
    StoreUnavailableError,
)

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
CALM_SECONDS: Final = 5.0
MANY: Final = 1_000


class Standing(NamedTuple):
    """What is still to be done, in words; empty when nothing is. `counts`: whether anything moves."""

    to_do: tuple[str, ...]
    counts: tuple[int, ...]


class Settling:
    """Asks broker and store. `groups`: of every agent, by name; `topics`: what each of them is to have read."""

    def __init__(
        self,
        log: LogReader,
        groups: Mapping[str, GroupOffsets],
        reader: StoreReader,
        topics: Mapping[str, Sequence[str]],
        partitions: int,
        *,
        calm_seconds: float = CALM_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._log = log
        self._groups = groups
        self._reader = reader
        self._topics = topics
        self._partitions = partitions
        self._calm_seconds = calm_seconds
        self._look_seconds = look_seconds

    def wait(self, deadline_seconds: float, say: Callable[[str], None]) -> str:
        """Until nothing is to be done and nothing has moved for a while. Returns what was left at the deadline."""
        end = time.monotonic() + deadline_seconds
        last, since = Standing((), ()), time.monotonic()
        while True:
            now = self._look()
            if now != last:
                last, since = now, time.monotonic()
            if not now.to_do and time.monotonic() - since >= self._calm_seconds:
                return ""
            if time.monotonic() > end:
                return "; ".join(now.to_do) or "it never came to rest"
            say("; ".join(now.to_do) or "all done, waiting for calm")
            time.sleep(self._look_seconds)

    def _look(self) -> Standing:
        try:
            counts, waiting = self._reader.counts(), len(self._reader.retrying())
            unread = {agent: self._unread(agent, group) for agent, group in self._groups.items()}
        except (LogUnavailableError, StoreUnavailableError) as error:
            return Standing((f"cannot be asked now: {error}",), ())
        to_do = [f"{agent} has {self._many(records)} records to read" for agent, records in unread.items() if records]
        if waiting:
            to_do.append(f"{waiting:,} records wait in lanes")
        return Standing(tuple(to_do), (*counts_of(counts), waiting))

    def _unread(self, agent: str, group: GroupOffsets) -> int:
        """Records that the agent has not committed, in all its topics; at most MANY are counted.

        They are read, not calculated: after a transaction the last offset belongs to no record.
        """
        places = [(topic, number) for topic in self._topics[agent] for number in range(self._partitions)]
        positions = group.committed(places)
        spans = {
            place: Extent(max(extent.start, positions.get(place, 0)), extent.end)
            for place, extent in self._log.extents(places).items()
        }
        left = {place: span for place, span in spans.items() if span.start < span.end}
        return sum(1 for _ in islice(self._log.read(left), MANY)) if left else 0

    @staticmethod
    def _many(records: int) -> str:
        return f"{records:,}" if records < MANY else f"{MANY:,} or more"


def counts_of(counts: StoreCounts) -> tuple[int, ...]:
    """What changes whenever anything happens to an event. `stuck` is left out: it moves with the time."""
    return counts.stored, counts.duplicates, counts.dead_lettered, counts.retrying, counts.invoices
