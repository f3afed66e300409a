"""What a worker refuses to work on."""

import asyncio

import pytest
from faust.types import TP

from bems_streams.ports import Coordinates, RawRecord
from bems_streams.runtime.batch import Batch
from bems_streams.runtime.membership import Membership
from bems_streams.runtime.ownership import (
    Owned,
    Ownership,
    RepetitionError,
    TornColumnError,
    refuse_repetition,
    whole_columns,
)
from bems_streams.runtime.work import PartitionsMovedError

TOPICS = ("ingestion", "posting")


def batch(first: int, last: int) -> Batch:
    """Consecutive records of ingestion[3]."""
    records = [RawRecord(Coordinates("ingestion", 3, n), b"k", b"v", (), 0) for n in range(first, last + 1)]
    return Batch("ingestion", 3, 1, records)


def test_partition_numbers_held_for_all_topics_are_worked_on() -> None:
    """Two whole columns, whatever the order of topics."""
    assert whole_columns({TP(topic, number) for topic in TOPICS for number in (5, 2)}, TOPICS) == [2, 5]
    assert whole_columns(set(), TOPICS) == []


def test_a_partition_number_held_for_some_topics_only_is_refused() -> None:
    """The message names the number, what is missing, and what to do."""
    with pytest.raises(TornColumnError, match=r"partition 5 was assigned without posting.*bems topics check"):
        whole_columns({TP("ingestion", 2), TP("posting", 2), TP("ingestion", 5)}, TOPICS)


def test_records_handled_before_are_refused() -> None:
    """A position that went back would fold or store what is done: the worker stops instead."""
    refuse_repetition([batch(10, 12), batch(13, 13)], {("ingestion", 3): 10})
    refuse_repetition([batch(11, 12)], {("ingestion", 3): 10})

    with pytest.raises(RepetitionError, match=r"handled before.*stands at 10"):
        refuse_repetition([batch(9, 12)], {("ingestion", 3): 10})


class Moving:
    """An application whose partitions move, or which is told to stop, as the test says."""

    def __init__(self) -> None:
        self.on_rebalance_complete = self.on_partitions_revoked = self
        self.consumer = self
        self.epoch = 1
        self.should_stop = False

    def connect(self, _: object) -> None:
        """As Faust's signals."""


@pytest.mark.parametrize("event", ["partitions move", "the worker stops", "nothing is owned"])
async def test_a_pause_ends_when_partitions_are_wanted_elsewhere(event: str) -> None:
    """A sink without its store must not keep the whole group waiting for what it holds."""
    app = Moving()
    ownership = Ownership(app, TOPICS, {}, None)
    ownership.owned = Owned(1, Membership("g", 1, "m", None), [0], {}, {})
    await ownership.pause(0.001)  # nothing happens: it just ends

    pausing = asyncio.ensure_future(ownership.pause(3600))
    await asyncio.sleep(0)
    assert not pausing.done()
    if event == "partitions move":
        app.epoch += 1
    elif event == "the worker stops":
        app.should_stop = True
    else:
        ownership.owned = None

    with pytest.raises(PartitionsMovedError):
        await asyncio.wait_for(pausing, 30)
