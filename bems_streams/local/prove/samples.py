"""Watches a proof once a second: what is accepted, what has an outcome, how long events take to be seen by a query.

Not here: what is concluded from it (report.py), what is done to the cell (engine.py).
"""

import logging
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from bems_streams.local.prove.load_books import Counters, read_counters
from bems_streams.local.visibility import percentile_ms
from bems_streams.ports import Clock, LogUnavailableError, Offsets, StoreReader, StoreUnavailableError

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.1
SAMPLE_SECONDS: Final = 1.0
READ_ROWS: Final = 5000


class Sample(NamedTuple):
    """The cell at one moment. Counts are totals; latencies are of what was first seen since the sample before."""

    seconds: float = 0.0
    accepted: int = 0
    acknowledged: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_lettered: int = 0
    retrying: int = 0
    refused: int = 0
    seen: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None

    @property
    def accounted(self) -> int:
        """Accepted events that have an outcome in the store."""
        return self.stored + self.duplicates + self.dead_lettered + self.retrying

    @property
    def lag(self) -> int:
        """Accepted events that have none yet."""
        return max(0, self.accepted - self.accounted)


class Visible(NamedTuple):
    """Acceptance to seen by a query, over everything; None when nothing was seen."""

    events: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    longest_ms: float | None


class Sampler:
    """Takes samples on threads of its own while the context lasts. `ends`: the offsets of the stage topics' ends."""

    def __init__(
        self,
        ends: Callable[[], Offsets],
        reader: StoreReader,
        load: Path,
        clock: Clock,
        sample_seconds: float = SAMPLE_SECONDS,
    ) -> None:
        self.samples: list[Sample] = [Sample()]
        self._ends = ends
        self._reader = reader
        self._load = load
        self._clock = clock
        self._sample_seconds = sample_seconds
        self._accepted = 0
        self._sequence = 0
        self._latencies_us = array("q")
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._watch_store, name="sampler", daemon=True),
            threading.Thread(target=self._watch_log, name="log-ends", daemon=True),
        ]

    @property
    def latest(self) -> Sample:
        """The newest sample."""
        return self.samples[-1]

    def begin(self) -> None:
        """Seconds count from here."""
        self._began = time.monotonic()

    def counters(self) -> Counters:
        """Of the load; zeros before it began."""
        return read_counters(self._load) or Counters()

    def visible(self) -> Visible:
        """So far."""
        found = sorted(self._latencies_us)
        percentiles = (percentile_ms(found, percent) for percent in (50, 95, 99, 100))
        return Visible(len(found), *percentiles)

    def _watch_log(self) -> None:
        """On its own: a broker that is away answers late, and the store is looked at all the same."""
        while not self._stop.wait(self._sample_seconds):
            try:
                self._accepted = max(self._accepted, sum(self._ends().values()))
            except LogUnavailableError as error:
                logger.debug("the log cannot be asked now: %s", error)

    def _watch_store(self) -> None:
        first, due = 0, time.monotonic() + self._sample_seconds
        while not self._stop.wait(min(LOOK_SECONDS, self._sample_seconds)):
            try:
                self._look()
                if time.monotonic() >= due:
                    self.samples.append(self._sample(first))
                    first, due = len(self._latencies_us), due + self._sample_seconds
            except StoreUnavailableError as error:
                logger.debug("the store cannot be asked now: %s", error)

    def _look(self) -> None:
        rows = self._reader.stored_since(self._sequence, READ_ROWS)
        now_us = self._clock.now_us()
        self._sequence = rows[-1][0] if rows else self._sequence
        self._latencies_us.extend(now_us - accepted_us for _, accepted_us, _ in rows)

    def _sample(self, first: int) -> Sample:
        accepted, counts, counters = self._accepted, self._reader.counts(), self.counters()
        new = sorted(self._latencies_us[first:])
        return Sample(
            seconds=round(time.monotonic() - self._began, 2),
            accepted=accepted,
            acknowledged=counters.acknowledged,
            stored=counts.stored,
            duplicates=counts.duplicates,
            dead_lettered=counts.dead_lettered,
            retrying=counts.retrying,
            refused=counters.refused_503,
            seen=len(new),
            p50_ms=percentile_ms(new, 50),
            p99_ms=percentile_ms(new, 99),
        )

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
