"""Up to where a partition may be committed: never past work that is not done."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bems_streams.ports import RawRecord
from bems_streams.runtime.batch import Batch, Pipeline
from tests.unit.flow_kit import raw

PLACES = (("a", 0), ("a", 1), ("b", 0))


def batch(offsets: Sequence[int], place: tuple[str, int] = ("a", 0), epoch: int = 1) -> Batch:
    """Records at these offsets."""
    topic, partition = place
    records: list[RawRecord] = [raw(b"", offset, topic=topic, partition=partition) for offset in offsets]
    return Batch(topic, partition, epoch, records)


def test_the_next_offset_is_the_one_after_the_last_record() -> None:
    """Also when offsets have gaps, as in compacted topics."""
    assert batch([3, 4, 9]).next_offset == 10
    assert len(batch([3, 4, 9])) == 3


def test_nothing_is_committable_before_the_oldest_batch_is_acked() -> None:
    """Acks of later batches wait for it, and count once it is acked."""
    pipeline, (first, second, third) = Pipeline(), (batch([0]), batch([1, 2]), batch([3]))
    for one in (first, second, third):
        pipeline.deliver(one)

    pipeline.ack(third)
    pipeline.ack(second)
    assert (dict(pipeline.committable()), pipeline.depth("a", 0)) == ({}, 3)

    pipeline.ack(first)
    assert (dict(pipeline.committable()), pipeline.depth("a", 0)) == ({("a", 0): 4}, 0)


def test_acking_twice_is_acking_once() -> None:
    """A second ack of the same batch moves nothing."""
    pipeline, (first, second) = Pipeline(), (batch([0]), batch([1]))
    pipeline.deliver(first)
    pipeline.deliver(second)

    pipeline.ack(first)
    pipeline.ack(first)

    assert dict(pipeline.committable()) == {("a", 0): 1}


def test_a_batch_of_an_earlier_assignment_changes_nothing() -> None:
    """The same records come again after a rebalance; the old copy of the batch does not speak for the new one."""
    pipeline, old = Pipeline(), batch([0, 1], epoch=1)
    pipeline.deliver(old)
    pipeline.clear()
    new = batch([0, 1], epoch=2)
    pipeline.deliver(new)

    pipeline.ack(old)
    assert (dict(pipeline.committable()), pipeline.depth("a", 0)) == ({}, 1)

    pipeline.ack(new)
    assert dict(pipeline.committable()) == {("a", 0): 2}


def test_a_batch_that_was_never_delivered_changes_nothing() -> None:
    """Not even on a partition that nobody has heard of."""
    pipeline = Pipeline()

    pipeline.ack(batch([7]))

    assert dict(pipeline.committable()) == {}


class Reference:
    """The same, by brute force: every batch of this assignment with a mark, walked from the start each time."""

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[str, int], Batch]] = []
        self.acked: set[int] = set()

    def committable(self) -> dict[tuple[str, int], int]:
        """Per place, the end of the run of acked batches at the start."""
        ends: dict[tuple[str, int], int] = {}
        for place in PLACES:
            for where, one in self.batches:
                if where == place:
                    if id(one) not in self.acked:
                        break
                    ends[place] = one.next_offset
        return ends


operations = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.sampled_from(PLACES), st.integers(1, 3)),
        st.tuples(st.just("ack"), st.integers(0, 50)),
        st.tuples(st.just("clear")),
    ),
    max_size=60,
)


@given(operations)
def test_any_order_of_acks_never_names_a_position_past_unacked_work(history: list[tuple[object, ...]]) -> None:
    """Deliveries, acks (also late, repeated, of lost assignments) and rebalances, on several partitions."""
    pipeline, reference, ever = Pipeline(), Reference(), list[Batch]()
    ends = dict.fromkeys(PLACES, 0)
    for step in history:
        match step:
            case ("deliver", (str(topic), int(partition)), int(size)):
                place = (topic, partition)
                one = batch(range(ends[place], ends[place] + size), place)
                ends[place] += size
                ever.append(one)
                pipeline.deliver(one)
                reference.batches.append((place, one))
            case ("ack", int(number)) if ever:
                one = ever[number % len(ever)]
                pipeline.ack(one)
                reference.acked.add(id(one))
            case ("clear",):
                pipeline.clear()
                reference.batches.clear()
        assert dict(pipeline.committable()) == reference.committable()
        records = 0
        for place in PLACES:
            # what is acked behind unacked work still waits
            done = reference.committable().get(place, -1)
            waiting = [one for where, one in reference.batches if where == place and one.next_offset > done]
            assert pipeline.depth(*place) == len(waiting)
            records += sum(map(len, waiting))
        assert pipeline.records == records
