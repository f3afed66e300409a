"""Accepting events: what is appended, what is not, and what is said of each."""

from typing import Any

import pytest

from bems_streams.domain.failures import InvalidEvent, NotJson, Poison, WrongStage
from bems_streams.flows.accept import VALIDATED_AT_ONCE, Accepted, Entrance, Many, One, Unproven, accept, split
from bems_streams.ports import Coordinates, OutRecord
from tests.unit.gateway_kit import ACCEPTED_US, MemoryLog, encoded, event, refusing

INGESTION = Entrance("ingestion", "invoices.ingestion")
HEADERS = (("correlation-id", b"c-1"), ("cell", b"cell-7"))


async def test_a_good_event_becomes_a_record_with_the_senders_own_bytes() -> None:
    """The record's value is what was sent, byte for byte; its key is the invoice id."""
    log = MemoryLog()
    raw = (
        b' {"stage":"ingestion",  "invoice_id":"R\xc3\xa9-1","event_id":"e","source":"s",\n'
        b' "occurred_at":"2025-01-01T00:00:00Z"}\n'
    )

    outcomes = await accept([raw], INGESTION, HEADERS, log)

    assert log.records == [OutRecord("invoices.ingestion", "Ré-1".encode(), raw, HEADERS)]
    (accepted,) = outcomes
    assert isinstance(accepted, Accepted)
    assert accepted.event_id == "e"
    assert accepted.proof.at == Coordinates("invoices.ingestion", 0, 0)
    assert accepted.proof.accepted_us == ACCEPTED_US


async def test_bad_items_do_not_stop_good_ones_and_order_is_kept() -> None:
    """Each item has its own outcome, in the order sent."""
    log = MemoryLog()
    raws = [encoded(event(1)), b"{", encoded(event(2)), encoded(event(3, source=None)), encoded(event(4))]

    outcomes = await accept(raws, INGESTION, HEADERS, log)

    assert [type(outcome) for outcome in outcomes] == [Accepted, NotJson, Accepted, InvalidEvent, Accepted]
    assert [record.value for record in log.records] == [raws[0], raws[2], raws[4]]


async def test_an_event_of_another_stage_is_rejected_by_name() -> None:
    """The stage in the payload must be that of the address."""
    log = MemoryLog()

    (outcome,) = await accept([encoded(event(stage="posting"))], INGESTION, HEADERS, log)

    assert isinstance(outcome, Poison)
    assert outcome.code is WrongStage.code
    assert [problem.path for problem in outcome.problems] == ["stage"]
    assert log.records == []


async def test_what_the_log_did_not_prove_is_not_accepted() -> None:
    """An unproven record in the middle leaves the proofs of its neighbours in place."""
    log = MemoryLog(refusing(b'"e-2"'))

    outcomes = await accept([encoded(event(n)) for n in (1, 2, 3)], INGESTION, HEADERS, log)

    assert [type(outcome) for outcome in outcomes] == [Accepted, Unproven, Accepted]
    assert outcomes[1] == Unproven("e-2", "timed out")
    assert [outcome.event_id for outcome in outcomes if not isinstance(outcome, Poison)] == ["e-1", "e-2", "e-3"]


async def test_a_batch_longer_than_one_turn_keeps_its_order() -> None:
    """Validation in turns changes nothing of the result."""
    log = MemoryLog()
    raws = [encoded(event(n)) for n in range(2 * VALIDATED_AT_ONCE + 1)]

    outcomes = await accept(raws, INGESTION, HEADERS, log)

    assert [record.value for record in log.records] == raws
    assert [outcome.event_id for outcome in outcomes if isinstance(outcome, Accepted)] == [
        f"e-{n}" for n in range(len(raws))
    ]


def test_items_of_an_array_are_cut_out_untouched() -> None:
    """Spaces, order and escapes inside each item stay."""
    body = b' \n[ {"a" :1} ,{ "b":"\\u00e9" }  ]\n'

    assert split(body) == Many([b'{"a" :1}', b'{ "b":"\\u00e9" }'])


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b'"["', b"\xff\xfe"])
def test_anything_that_is_no_array_is_one_event_to_be_judged(body: bytes) -> None:
    """Only a leading bracket makes an array."""
    assert split(body) == One(body)


@pytest.mark.parametrize("body", [b"[", b"[{}", b"[{},]", b"[" * 100_000, b"[{}] trailing"])
def test_a_broken_array_is_rejected_as_a_whole(body: bytes) -> None:
    """Without its end nobody knows what the items are."""
    parts: Any = split(body)

    assert isinstance(parts, Poison)
    assert parts.code is NotJson.code
