"""The record of a record that could not be handled: everything needed to understand it and to send it again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.failures import InvalidEvent, Poison, Problem
from bems_streams.flows.dead_letter import MAX_REASON_BYTES, dead_letter
from bems_streams.ports import OutRecord, RawRecord
from tests.unit.flow_kit import START_US, raw

REJECTED = InvalidEvent((Problem("stage", "required"), Problem("", "sonst größer")))


def letter(record: RawRecord, rejected: Poison = REJECTED) -> OutRecord:
    """As an agent of cell c1 makes it."""
    return dead_letter(record, rejected, topic="t.dlq", agent="tracker", cell="c1", region="eu")


def test_it_says_where_the_record_came_from_and_why_it_is_here() -> None:
    """By headers, so that the value stays what it was."""
    record = raw(b"value", 42, key=b"key", topic="invoices.posting", partition=7, accepted_us=START_US + 5)

    made = letter(record)

    assert (made.topic, made.key, made.value, made.partition) == ("t.dlq", b"key", b"value", None)
    assert dict(made.headers) == {
        "bems-origin-topic": b"invoices.posting",
        "bems-origin-partition": b"7",
        "bems-origin-offset": b"42",
        "bems-accepted-at": b"2025-10-09T08:53:20.000005+00:00",
        "bems-agent": b"tracker",
        "bems-code": b"invalid_event",
        "bems-cell": b"c1",
        "bems-region": b"eu",
        "bems-reason": "stage: required; sonst größer".encode(),
    }


@given(
    st.none() | st.binary(max_size=50),
    st.none() | st.binary(max_size=50),
    st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=9)), max_size=4),
)
def test_the_original_is_in_it_unchanged(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    """Key, value and headers, also repeated, odd or missing ones: sending them again gives the same record."""
    made = letter(raw(value, key=key, headers=headers))

    assert (made.key, made.value) == (key, value)
    assert list(made.headers[: len(headers)]) == headers
    assert all(name.startswith("bems-") for name, _ in made.headers[len(headers) :])


def test_a_record_that_fails_again_keeps_its_history() -> None:
    """After a redrive the headers of the first failure come first."""
    first = letter(raw(b"value", 1))

    second = letter(raw(first.value, 9, headers=first.headers))

    assert [value for name, value in second.headers if name == "bems-origin-offset"] == [b"1", b"9"]


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_a_long_reason_is_cut_between_characters(character: str) -> None:
    """A header that is not UTF-8 breaks the tools that people read dead letters with at night."""
    made = letter(raw(b""), InvalidEvent((Problem("", character * 10_000),)))

    reason = dict(made.headers)["bems-reason"]
    assert 1000 < len(reason) <= MAX_REASON_BYTES
    assert character in reason.decode("utf-8")


def test_the_same_record_gives_the_same_dead_letter() -> None:
    """A replay repeats it byte by byte, which is how a reader knows the copy."""
    assert letter(raw(b"value", 3)) == letter(raw(b"value", 3))
