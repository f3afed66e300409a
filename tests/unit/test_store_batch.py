"""What is left to write when a store refuses records."""

import pytest

from bems_streams.ports import Handled, StoreBatch
from tests.contract.rows import at, dead_letter, event, handled, retry


@pytest.mark.parametrize(
    ("left_out", "parts"),
    [
        ([], [(10, 20)]),
        ([15], [(10, 15), (16, 20)]),
        ([10], [(11, 20)]),
        ([19], [(10, 19)]),
        ([14, 15, 12], [(10, 12), (13, 14), (16, 20)]),
        ([8, 20, 99], [(10, 20)]),
        (range(10, 20), []),
    ],
)
def test_a_stretch_without_records_is_what_lies_between_them(left_out: list[int], parts: list[tuple[int, int]]) -> None:
    """Offsets of other partitions and topics do not matter."""
    beside = [at(12, partition=1), at(13, topic="invoices.posting")]

    found = list(handled(10, 20).around([*beside, *map(at, left_out)]))

    assert found == [Handled("sink", "invoices.ingestion", 0, first, until) for first, until in parts]


def test_a_batch_without_refused_records_has_neither_their_rows_nor_their_offsets() -> None:
    """All else stays: the records that failed otherwise, and other partitions."""
    batch = StoreBatch(
        events=[event("a", 0), event("b", 1)],
        late_events=[event("c", 2), event("d", 3)],
        dead_letters=[dead_letter(4)],
        retrying=[retry(5)],
        handled=[handled(0, 6), handled(0, 6, partition=1)],
    )

    left = batch.without({at(1), at(2)})

    assert left == StoreBatch(
        events=[event("a", 0)],
        late_events=[event("d", 3)],
        dead_letters=[dead_letter(4)],
        retrying=[retry(5)],
        handled=[handled(0, 1), handled(3, 6), handled(0, 6, partition=1)],
    )
