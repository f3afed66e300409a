"""Records by column say what a plain loop over them would."""

from decimal import Decimal
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from bems_streams.adapters.stores_records import Record, Records, by_place, tally_of, total
from bems_streams.adapters.stores_summary import EXACT
from bems_streams.ports import MINUTE_US, EventRow, RecordOutcome
from tests.contract.rows import MINUTE, at, event

AMOUNTS = st.decimals(-(10**20), 10**20, places=6, allow_nan=False)
VALUES = st.one_of(st.tuples(st.sampled_from(["EUR", "USD"]), AMOUNTS), st.just(("", Decimal(0))))
PLACES = st.tuples(st.integers(0, 9), st.integers(0, 1))
RECORDS = st.tuples(PLACES, st.integers(0, 2), st.sampled_from(list(RecordOutcome)), VALUES)


@given(st.lists(RECORDS, max_size=12), st.integers(0, 10), st.integers(0, 10), st.booleans())
def test_records_by_column_are_those_of_a_plain_loop(
    made: list[tuple[tuple[int, int], int, RecordOutcome, tuple[str, Decimal]]], first: int, until: int, in_order: bool
) -> None:
    """Whatever order they come in, and however often one place is given: the last counts, each minute by itself."""
    if in_order:  # as they come from their topic
        made = sorted({one[0][::-1]: one for one in made}.values(), key=lambda one: one[0][::-1])
    rows: list[EventRow] = []
    expected: dict[int, dict[int, Record]] = {0: {}, 1: {}}
    for (offset, partition), minutes, outcome, value in made:
        accepted_us = MINUTE + minutes * MINUTE_US + offset
        rows.append(event(at=at(offset, partition), accepted_us=accepted_us))
        expected[partition][offset] = (accepted_us, outcome, value)

    found = by_place(rows, [one[2] for one in made], [one[3] for one in made])

    assert {place[1] for place in found} == {partition for partition, records in expected.items() if records}
    for place, records in found.items():
        plain = sorted(expected[place[1]].items())
        assert [list(column) for column in records] == [list(column) for column in Records.of(expected[place[1]])]
        assert all(records.at(offset) == record for offset, record in plain)
        part = records.between(first, until)
        assert list(part.offsets) == [offset for offset, _ in plain if first <= offset < until]
        runs = [(minute, list(run)) for minute, run in groupby(plain, lambda one: one[1][0] // MINUTE_US)]
        assert [(minute, records.tally(begin, end), end - begin) for minute, begin, end in records.minutes()] == [
            (minute, tally_of([record for _, record in run]), len(run)) for minute, run in runs
        ]


@given(st.lists(VALUES))
def test_sums_lose_no_digit(values: list[tuple[str, Decimal]]) -> None:
    """As integers of the smallest unit would be summed."""
    sums = total(values)

    assert {currency: int(amount.scaleb(6, EXACT)) for currency, amount in sums.items()} == {
        currency: sum(int(amount.scaleb(6, EXACT)) for each, amount in values if each == currency)
        for currency in {currency for currency, _ in values if currency}
    }
