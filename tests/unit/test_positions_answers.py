"""A leader that does not answer is no empty log."""

import pytest

from bems_streams.runtime.positions import PositionError, only_offsets


def test_offsets_are_taken_as_they_are() -> None:
    """An empty log too."""
    found = {("invoices.posting", 0): (0, 0), ("invoices.posting", 1): (7, 12)}

    assert only_offsets(found) == found


@pytest.mark.parametrize("extent", [(0, -1001), (-1001, 5), (-1, -1)])
def test_a_number_that_is_no_offset_ends_the_take_over(extent: tuple[int, int]) -> None:
    """It came for brokers that were away, without an error; as the end of a changelog it would empty the table."""
    with pytest.raises(PositionError, match=r"invoices\.tracker\.changelog\[3\]"):
        only_offsets({("invoices.tracker.changelog", 2): (0, 9), ("invoices.tracker.changelog", 3): extent})
