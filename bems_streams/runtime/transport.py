"""Faust's Kafka transport, made to deliver batches and to lose nothing across seeks and rebalances.

One Faust message carries a `Batch` of one partition, stamped with the epoch, which ends the moment partitions are
being revoked, and again when they are assigned.
Not here: fetching (fetch.py), what happens to a batch (flows), where partitions start (ownership.py).
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage, ack_lock
from mode.utils.futures import notify
from mode.utils.queues import FlowControlEvent

from bems_streams.ports import RawRecord
from bems_streams.runtime.batch import Batch, Pipeline
from bems_streams.runtime.failfast import die
from bems_streams.runtime.fetch import FETCH_MAX_WAIT_MS, BatchListener, BatchThread
from bems_streams.runtime.holding import Holding


class BatchSettings:
    """How much a consumer takes at once. DEPTH keeps one partition from taking the place of all others.

    RECORDS bounds memory, whatever the number of partitions: what a tracker takes at once. What one fetch returns comes
    on top (unpack.TAKE_RECORDS).
    """

    BATCH_RECORDS = 1000
    DEPTH = 4
    RECORDS = 64_000


class NoClearOnResume(FlowControlEvent):
    """Stock `resume` empties the agents' queues, after the seek that filled them anew."""

    def resume(self) -> None:
        """Open the flow; what is queued stays."""
        self._suspend.clear()
        self._resume.set()


class BatchSchema(faust.Schema):  # type: ignore[type-arg]
    """The value is a `Batch` already: no codec, so that nothing is decoded, and dropped, before we see it."""

    def compile(self, app: Any, **_: Any) -> Any:
        """The decoder that Faust calls for each message."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class BatchConsumer(driver.Consumer):
    """Delivers batches with bounded depth per partition and commits only unbroken runs of acked ones.

    epoch   grows with every revocation and assignment; a batch of an older epoch must not be processed
    starts  where each assigned partition begins, set by ownership before the flow resumes
    commits whether Faust commits offsets; False where a fenced transaction does
    dense   topics written without transactions and never compacted, where a gap means lost records
    holding lanes, whose records are delivered when they are due
    handed_over  set unless the batches of one fetch are being delivered, which belong together
    """

    RebalanceListener = BatchListener

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.epoch = 0
        self.revoking = False
        self.starts: dict[TP, int] = {}
        self.commits = True
        self.dense: frozenset[str] = frozenset()
        self.holding: Holding | None = None
        self.pipeline = Pipeline()
        self._expected: dict[TP, int] = {}
        self._reached: Mapping[TP, int] = {}
        self._room = asyncio.Event()
        self.handed_over = asyncio.Event()
        self.handed_over.set()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def identity(self) -> tuple[int, str]:
        """(generation, member id)."""
        thread: BatchThread = self._thread  # type: ignore[assignment]
        return thread.identity

    def polled_us(self, tp: TP) -> int | None:
        """When `highwater` was true, microseconds since 1970 UTC; None before the first fetch."""
        thread: BatchThread = self._thread  # type: ignore[assignment]
        return thread.polled_us(tp)

    def passed(self, tp: TP) -> int:
        """The offset below which nothing is left to handle, beyond what batches tell: 0 while some are in progress."""
        busy = self.pipeline.depth(tp.topic, tp.partition) or self._holds(tp)
        return 0 if busy else self._reached.get(tp, 0)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Faust: stop the flow, clear queues, wait for work in flight, commit."""
        self.revoking = True
        await super().on_partitions_revoked(revoked)
        self._forget()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Faust: start the recovery, whose end ownership hooks into."""
        self.epoch += 1  # what was fetched while partitions moved is of neither assignment
        self._forget()
        self._committed_offset.clear()
        self.revoking = False
        await super().on_partitions_assigned(assigned, generation_id)

    def _forget(self) -> None:
        self.pipeline.clear()
        if self.holding is not None:
            self.holding.clear()
        self._expected.clear()
        self._reached = {}
        self._room.set()

    def expect(self, tp: TP, offset: int) -> None:
        """The next record of `tp` must be the one at `offset`."""
        self._expected[tp] = offset

    def resume_flow(self) -> None:
        """A recovery of the previous generation that ends late must not open the flow in the middle of a rebalance."""
        if not self.revoking:
            super().resume_flow()

    def ack(self, message: Any) -> bool:
        """The only way a batch becomes committable."""
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            self.pipeline.ack(message.value)
            self._n_acked += 1
        self._room.set()
        notify(self._waiting_for_ack)
        return True

    def abandon(self, message: Any) -> None:
        """Drop a batch of an earlier epoch without acking: its next owner reads it again."""
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        if not self.commits:
            return iter(())
        places = (TP(*place) for place in self.pipeline.committable())
        return (tp for tp in places if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self.pipeline.committable().get((tp.topic, tp.partition))

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        assigned = self.assignment()
        mine = {tp: offset for tp, offset in offsets.items() if tp in assigned}
        if not mine or not await self._commit(mine):
            return False
        self._committed_offset.update(mine)  # only what the broker took; the timer tries the rest again
        return True

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            await self._drain_until_stopped(fetcher)
        except asyncio.CancelledError:
            if not self.app.should_stop:  # else Faust would take an orderly stop during a rebalance for a crash
                raise

    async def _drain_until_stopped(self, fetcher: Any) -> None:
        stopped, fetcher_stopped = self._stopped.is_set, fetcher._stopped.is_set
        while not (stopped() or fetcher_stopped()):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # mode names its own Event
                continue
            await self._deliver_due()
            roomy = self._roomy()
            if not roomy:
                await self._wait_for_room()
                continue
            epoch = self.epoch
            fetched: Any = await self._getmany(active_partitions=roomy, timeout=FETCH_MAX_WAIT_MS / 1000)
            if fetched:
                seek_count, records, reached = fetched
                self.handed_over.clear()
                try:
                    await self._deliver_all(epoch, seek_count, records)
                finally:
                    self.handed_over.set()
                if epoch == self.epoch:
                    self._reached = reached

    def _roomy(self) -> set[TP]:
        """What may be fetched now."""
        if self.pipeline.records >= BatchSettings.RECORDS:
            return set()
        return {tp for tp in self._get_active_partitions() if self._has_room(tp) and not self._holds(tp)}

    def _has_room(self, tp: TP) -> bool:
        return self.pipeline.depth(tp.topic, tp.partition) < BatchSettings.DEPTH

    def _holds(self, tp: TP) -> bool:
        return self.holding is not None and self.holding.holds(tp)

    async def _deliver_due(self) -> None:
        """What waited in lanes until now."""
        if self.holding is None:
            return
        epoch = self.epoch
        for tp in self.holding.places():
            if epoch != self.epoch or not self.flow_active:
                return  # forgotten, or fetched again after the seek that follows
            if self._has_room(tp) and (due := self.holding.take_due(tp, BatchSettings.BATCH_RECORDS)):
                await self._deliver(tp, Batch(tp.topic, tp.partition, epoch, due))

    async def _wait_for_room(self) -> None:
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), 0.2)
        except TimeoutError:
            return  # look again: partitions may have changed

    async def _deliver_all(self, epoch: int, seek_count: int, records: Mapping[Any, list[RawRecord]]) -> None:
        thread: BatchThread = self._thread  # type: ignore[assignment]
        for fetched_tp, fetched in records.items():
            tp = TP(fetched_tp.topic, fetched_tp.partition)
            if self.holding is not None and self.holding.is_lane(tp.topic):
                if epoch != self.epoch or thread.seek_count != seek_count:
                    return
                self.holding.keep(tp, fetched)
                continue
            for first in range(0, len(fetched), BatchSettings.BATCH_RECORDS):
                if epoch != self.epoch or not self.flow_active or thread.seek_count != seek_count:
                    return  # a seek to the committed positions follows, which reads these again
                chunk = fetched[first : first + BatchSettings.BATCH_RECORDS]
                if tp.topic in self.dense and chunk[0].at.offset != self._expected.get(tp, chunk[0].at.offset):
                    await self._explain_gap(tp, chunk[0].at.offset)
                self._expected[tp] = chunk[-1].at.offset + 1
                await self._deliver(tp, Batch(tp.topic, tp.partition, epoch, chunk))

    async def _deliver(self, tp: TP, batch: Batch) -> None:
        self.pipeline.deliver(batch)
        last = batch.records[-1]
        value: Any = batch
        message = ConsumerMessage(
            tp.topic, tp.partition, last.at.offset, last.accepted_us / 1e6, 0, None, None, value, None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        await self.wait_first(self.callback(message), self.suspend_flow.wait())
        self._read_offset[tp] = last.at.offset

    async def _explain_gap(self, tp: TP, offset: int) -> None:
        """Offsets are dense unless a producer used transactions; a gap below the log's start is lost data."""
        expected = self._expected[tp]
        if offset < expected:
            die(f"{tp.topic}[{tp.partition}]: position went back from {expected} to {offset} within one assignment")
        log_start = (await self.earliest_offsets(tp))[tp]
        if log_start > expected:
            die(
                f"{tp.topic}[{tp.partition}]: records {expected}..{log_start - 1} were deleted by retention before "
                f"they were read (next is {offset}); restore them from the archive, then reset the group's offset"
            )


class BatchTransport(driver.Transport):
    """Faust's transport with the consumer above."""

    Consumer = BatchConsumer
