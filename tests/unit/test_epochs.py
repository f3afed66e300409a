"""When an epoch ends: what was fetched on one side of a rebalance is never worked on at the other."""

from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from bems_streams.ports import Coordinates, RawRecord
from bems_streams.runtime.app import GroupSettings, build_app
from bems_streams.runtime.batch import Batch
from bems_streams.runtime.transport import BatchConsumer, BatchSettings
from tests.unit.work_kit import NO_LANES

PLACE = TP("in", 0)


@pytest.fixture
async def consumer(tmp_path: Path) -> BatchConsumer:
    """A real one, of a real application, without a broker; Faust's own callbacks are left out."""
    app = build_app(GroupSettings("epochs", "127.0.0.1:1", tmp_path), dense=["in"], fenced=True, lanes=NO_LANES)
    found: Any = app.consumer

    async def nothing(*_: Any) -> None:
        """Stands for what Faust does next."""

    found._on_partitions_assigned = found._on_partitions_revoked = nothing
    app.rebalancing_count = 1
    found.app.on_rebalance_return = lambda: None
    assert isinstance(found, BatchConsumer)
    found._thread.thread_loop.close()  # opened for a thread that never starts here
    return found


def batch(epoch: int) -> Batch:
    """One record."""
    return Batch("in", 0, epoch, [RawRecord(Coordinates("in", 0, 7), b"k", b"v", (), 0)])


async def test_an_assignment_ends_the_epoch_that_the_revocation_began(consumer: BatchConsumer) -> None:
    """Records fetched in between have the positions of neither assignment; delivered late they would skip or repeat."""
    consumer.epoch = 4  # as after a revocation
    in_between = batch(consumer.epoch)
    consumer.pipeline.deliver(in_between)

    await consumer.on_partitions_assigned({PLACE}, 2)

    assert in_between.epoch < consumer.epoch
    assert consumer.pipeline.depth("in", 0) == 0
    assert not consumer.revoking


async def test_the_flow_stays_closed_while_partitions_are_given_back(consumer: BatchConsumer) -> None:
    """A recovery of the previous generation that ends late must not open it."""
    consumer.stop_flow()
    consumer.revoking = True

    consumer.resume_flow()
    assert not consumer.flow_active

    consumer.revoking = False
    consumer.resume_flow()
    assert consumer.flow_active


async def test_a_revocation_forgets_what_was_delivered(consumer: BatchConsumer) -> None:
    """Nothing of it can be committed any more, and new work does not wait for it."""
    done, waiting = batch(1), batch(1)
    consumer.pipeline.deliver(done)
    consumer.pipeline.deliver(waiting)
    consumer.pipeline.ack(done)

    await consumer.on_partitions_revoked({PLACE})

    assert dict(consumer.pipeline.committable()) == {}
    assert consumer.passed(PLACE) == 0
    assert consumer.revoking


async def test_what_the_reader_passed_counts_only_when_nothing_is_in_progress(consumer: BatchConsumer) -> None:
    """Behind a batch in progress the marker of a transaction is no progress."""
    consumer._reached = {PLACE: 9}
    assert consumer.passed(PLACE) == 9

    consumer.pipeline.deliver(batch(consumer.epoch))

    assert consumer.passed(PLACE) == 0


async def test_however_many_partitions_there_are_no_more_records_wait_than_allowed(
    consumer: BatchConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 99 partitions of four topics, what each may hold would add up to gigabytes."""
    monkeypatch.setattr(BatchSettings, "RECORDS", 3)
    places = {TP("in", number) for number in range(99)}
    consumer._get_active_partitions = lambda: places  # type: ignore[method-assign]
    waiting = [batch(consumer.epoch) for _ in range(3)]
    for one in waiting[:2]:
        consumer.pipeline.deliver(one)
    assert consumer._roomy() == places

    consumer.pipeline.deliver(waiting[2])
    assert consumer._roomy() == set()

    consumer.pipeline.ack(waiting[0])
    assert consumer._roomy() == places
