"""From a raw record to an event of its topic's stage, or to what is wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.event import MAX_EVENT_BYTES, Event
from bems_streams.domain.failures import InvalidEvent, NotJson, Poison, TooLarge, WrongKey, WrongStage
from bems_streams.flows.decode import decode_event
from tests.unit.flow_kit import STAGES, event_record, payload, raw


@pytest.mark.parametrize("stage", STAGES)
def test_a_good_record_is_an_event_of_its_topic(stage: str) -> None:
    """Key, stage and topic agree."""
    event = decode_event(event_record("E-9", stage), stage)

    assert isinstance(event, Event)
    assert (event.event_id, event.stage, event.invoice_id) == ("E-9", stage, "INV-1")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, NotJson.code),
        (b"", NotJson.code),
        (b"{", NotJson.code),
        (b"\xff", NotJson.code),
        (b'{"a":' * 10_000, NotJson.code),
        (b"[]", InvalidEvent.code),
        (b"{}", InvalidEvent.code),
        (b" " * (MAX_EVENT_BYTES + 1), TooLarge.code),
        (payload(stage="posting"), WrongStage.code),
        (payload(stage="unheard of"), WrongStage.code),
        (payload(invoice_id="INV-2"), WrongKey.code),
    ],
)
def test_what_is_wrong_has_a_code_and_a_reason(value: bytes | None, code: str) -> None:
    """Codes label metrics and dead letters; the reason says what to mend."""
    rejected = decode_event(raw(value), "ingestion")

    assert isinstance(rejected, Poison)
    assert rejected.code is code
    assert rejected.reason


@pytest.mark.parametrize("key", [None, b"", b"INV-2", b"inv-1", b"INV-1 ", b"\xff"])
def test_a_key_that_is_not_the_invoice_id_is_refused(key: bytes | None) -> None:
    """It went to a partition by that key: state of one invoice in two places would follow."""
    rejected = decode_event(raw(payload(), key=key), "ingestion")

    assert isinstance(rejected, Poison)
    assert rejected.code is WrongKey.code
    assert repr(key) in rejected.reason


def test_the_key_is_compared_as_utf_8() -> None:
    """Invoice ids may hold any visible character."""
    record = event_record(invoice_id="Ré-№7")

    assert record.key == "Ré-№7".encode()
    assert isinstance(decode_event(record, "ingestion"), Event)


@given(st.none() | st.binary(max_size=200) | st.text(max_size=100).map(str.encode), st.none() | st.binary(max_size=20))
def test_no_record_whatever_raises(value: bytes | None, key: bytes | None) -> None:
    """An exception here would stop a partition for good."""
    decoded = decode_event(raw(value, key=key), "ingestion")

    assert isinstance(decoded, Poison)
