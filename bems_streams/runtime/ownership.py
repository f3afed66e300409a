"""What this worker owns, from assignment to revocation: whole columns only, settled, restored, then open for work.

Hooks into Faust where it awaits us: after the assignment and before source partitions resume; and before it gives
partitions back. Not here: fetching (transport.py), transactions (fence.py).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from faust.types import TP

from bems_streams.metrics import TableMetrics
from bems_streams.ports import Deadlines, Place
from bems_streams.runtime.batch import Batch
from bems_streams.runtime.failfast import fail_fast
from bems_streams.runtime.membership import Membership
from bems_streams.runtime.positions import log_ends, stable_positions, topic_id
from bems_streams.runtime.restore import Restore
from bems_streams.runtime.table import TablePartition
from bems_streams.runtime.table_memory import TableMemory
from bems_streams.runtime.work import PartitionsMovedError, Work

logger = logging.getLogger(__name__)

BROKER_TIMEOUT_SECONDS: Final = 30.0
RESTORE_STALL_SECONDS: Final = 60.0
PAUSE_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Owned:
    """What may be worked on in one epoch. Gone (None) while partitions move."""

    epoch: int
    membership: Membership
    numbers: Sequence[int]
    positions: dict[Place, int]
    """Next source offset per (topic, partition): moves with every batch handled."""
    accepted: dict[Place, int]
    """Acceptance time of the last record handled, per (topic, partition)."""


class TableStore:
    """The open table partitions of this worker and the changelog behind them."""

    def __init__(
        self, folder: Path, changelog: str, deadlines: Deadlines, memory: TableMemory, metrics: TableMetrics
    ) -> None:
        self.folder = folder
        self.changelog = changelog
        self._deadlines = deadlines
        self._memory = memory
        self.metrics = metrics
        self.partitions: dict[int, TablePartition] = {}

    def open(self, numbers: Sequence[int]) -> None:
        """Open what is owned, close what is not."""
        for number in set(self.partitions) - set(numbers):
            self.partitions.pop(number).close()
        for number in numbers:
            if number not in self.partitions:
                self.partitions[number] = TablePartition(self.folder, number, self._deadlines, self._memory)
        self.metrics.partitions.set(len(numbers))

    def restore(self, config: Mapping[str, Any], numbers: Sequence[int]) -> int:
        """Bring the open partitions up to the changelog; blocking."""
        identity = topic_id(config, self.changelog, BROKER_TIMEOUT_SECONDS)
        for number in numbers:
            self.partitions[number].claim(identity)
        ends = log_ends(config, [(self.changelog, number) for number in numbers], BROKER_TIMEOUT_SECONDS)
        restore = Restore(config, self.changelog, ends, RESTORE_STALL_SECONDS, self._progress)
        return restore.run([self.partitions[number] for number in numbers])

    def _progress(self, applied: int, remaining: int) -> None:
        self.metrics.restored.inc(applied)
        self.metrics.restoring.set(remaining)


class Ownership:
    """Keeps `owned` true. `busy` is held by whoever works on it, so that nothing is given back in the middle."""

    def __init__(self, app: Any, topics: Sequence[str], config: Mapping[str, Any], tables: TableStore | None) -> None:
        self.owned: Owned | None = None
        self.busy = asyncio.Lock()
        self.tables = tables
        self._app = app
        self._topics = tuple(topics)
        self._config = config
        app.on_rebalance_complete.connect(self._on_assigned)
        app.on_partitions_revoked.connect(self._on_revoked)

    def reason_not_ready(self) -> str | None:
        """For /readyz: None when partitions are owned, or there are more workers than partitions."""
        return None if self.owned is not None else "waiting for partitions, or restoring them"

    async def pause(self, seconds: float) -> None:
        """Sleep while holding. PartitionsMovedError once they are asked back, or the worker is to stop: what waits with
        them must not keep the group waiting.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            self._refuse_to_stay()
            await asyncio.sleep(min(left, PAUSE_LOOK_SECONDS))
        self._refuse_to_stay()

    def _refuse_to_stay(self) -> None:
        if self.owned is None or self.owned.epoch != self._app.consumer.epoch or self._app.should_stop:
            raise PartitionsMovedError

    @asynccontextmanager
    async def hold(self, work: Work) -> AsyncIterator[Owned]:
        """Work on a batch; PartitionsMovedError when it belongs to an earlier assignment."""
        async with self.busy:
            owned = self.owned
            if owned is None or not work.epoch == owned.epoch == self._app.consumer.epoch:
                raise PartitionsMovedError
            refuse_repetition(work.batches, owned.positions)
            yield owned
            for batch in work.batches:
                owned.positions[batch.topic, batch.partition] = batch.next_offset
                owned.accepted[batch.topic, batch.partition] = batch.records[-1].accepted_us

    @asynccontextmanager
    async def hold_all(self) -> AsyncIterator[Sequence[int]]:
        """Work on whatever is owned now: its partition numbers, none while partitions move."""
        async with self.busy:
            yield self.owned.numbers if self.owned and self.owned.epoch == self._app.consumer.epoch else ()

    async def _on_revoked(self, _app: Any, _revoked: Any, **_: Any) -> None:
        with fail_fast("giving partitions back"):
            async with self.busy:
                self.owned = None

    async def _on_assigned(self, _app: Any, **_: Any) -> None:
        with fail_fast("taking over partitions"):
            consumer = self._app.consumer
            epoch = consumer.epoch
            assigned = {TP(*tp) for tp in consumer.assignment()}
            numbers = whole_columns(assigned, self._topics)
            generation, member = consumer.identity
            membership = Membership(
                self._app.conf.id, generation, member, self._app.conf.consumer_group_instance_id or None
            )
            began = time.monotonic()
            positions, restored = await asyncio.to_thread(self._settle, sorted(assigned), numbers)
            if consumer.epoch != epoch or consumer.identity != (generation, member):
                logger.info("partitions moved again while being taken over; the next assignment counts")
                return
            consumer.starts = {TP(*place): offset for place, offset in positions.items()}
            self.owned = Owned(epoch, membership, numbers, positions, {})
            logger.info(
                "owns partitions %s in generation %d: %d changelog records applied in %.2f s",
                list(numbers), generation, restored, time.monotonic() - began,
            )  # fmt: skip

    def _settle(self, assigned: Sequence[TP], numbers: Sequence[int]) -> tuple[dict[Place, int], int]:
        """Steps 1 to 3, blocking. The order matters: only after 1 is the changelog final."""
        if not assigned:
            if self.tables is not None:
                self.tables.open([])
            return {}, 0
        places = [(tp.topic, tp.partition) for tp in assigned]
        positions = stable_positions(self._config, self._app.conf.id, places, BROKER_TIMEOUT_SECONDS)
        if self.tables is None:
            return positions, 0
        self.tables.open(numbers)
        return positions, self.tables.restore(self._config, numbers)


class TornColumnError(Exception):
    """A partition number is assigned for some topics only, so an invoice would be tracked in two places."""


class RepetitionError(Exception):
    """A batch holds records that this worker has handled already in this assignment."""


def whole_columns(assigned: AbstractSet[TP], topics: Sequence[str]) -> list[int]:
    """Partition numbers held, each for all topics; TornColumnError otherwise."""
    numbers = sorted({tp.partition for tp in assigned})
    for number in numbers:
        missing = [topic for topic in topics if TP(topic, number) not in assigned]
        if missing:
            raise TornColumnError(
                f"partition {number} was assigned without {', '.join(missing)}: invoices would be tracked in two "
                "places. Run `bems topics check`, and let all workers of this group run the same release."
            )
    return numbers


def refuse_repetition(batches: Sequence[Batch], positions: Mapping[Place, int]) -> None:
    """RepetitionError unless every batch begins at or after its partition's position; gaps are the consumer's."""
    for batch in batches:
        first, position = batch.records[0].at, positions[batch.topic, batch.partition]
        if first.offset < position:
            raise RepetitionError(f"{first} was handled before: {batch.topic}[{batch.partition}] stands at {position}")
