"""One event at a time, in any order, with any repetition: the same invoice."""

from datetime import date
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event, instant
from bems_streams.domain.fold import digest_of, fold, fold_all
from bems_streams.domain.journey import Journey, Stage, StageCode, StageLostError, UnknownStageError
from bems_streams.domain.state import FACT_NAMES, Facts, InvoiceState, InvoiceStatus, StageRecord, Step

LIMITS_US: Final = {"ingestion": 100, "reconciliation": 500, "authorization": None, "posting": 50}
CODES: Final = {"ingestion": 4, "reconciliation": 2, "authorization": 9, "posting": 1}  # not in business order
JOURNEY: Final = Journey(tuple(Stage(name, StageCode(code), LIMITS_US[name]) for name, code in CODES.items()))


class Record(NamedTuple):
    """One copy of an event, as the log holds it."""

    event: Event
    accepted_us: int


def event(event_id: str, stage: str, occurred_us: int, **facts: object) -> Event:
    """One event of the invoice under test."""
    whole = {"event_id": event_id, "source": "erp", "occurred_at": instant(occurred_us), "invoice_id": "INV-1"}
    return Event(**(whole | {"stage": stage} | facts))  # type: ignore[arg-type]


def folded(records: list[Record]) -> InvoiceState:
    """What `fold` makes of the records, in this order."""
    state = InvoiceState()
    for record in records:
        fold(state, record.event, record.accepted_us, JOURNEY)
    return state


def stored(state: InvoiceState) -> bytes:
    """The bytes that a table keeps."""
    return encode_tracked(TrackedInvoice(0, 0, 0, 0, 0, state))


amounts = st.decimals(-1000, 1000, places=2).map("{:f}".format)
facts = st.fixed_dictionaries(
    {},
    optional={
        "payee_code": st.sampled_from(["P1", "P2"]),
        "legal_entity_id": st.sampled_from(["L1", "L2"]),
        "invoice_date": st.dates(date(2025, 1, 1), date(2025, 1, 3)),
        "invoice_due_date": st.dates(date(2025, 2, 1), date(2025, 2, 3)),
        "invoice_amount": amounts,
        "currency": st.sampled_from(["EUR", "USD"]),
        "matched_amount": amounts,
        "authorized_amount": amounts,
        "ppv": amounts,
        "pqv": amounts,
    },
)
moments_us = st.integers(0, 6) | st.integers(0, 3_000)  # close together, so that ties are common


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """2 to 20 events of one invoice, some of them more than once, each copy accepted at a time of its own."""
    count = draw(st.integers(2, 20))
    events = [
        event(f"E{number}", draw(st.sampled_from(list(CODES))), draw(moments_us), **draw(facts))
        for number in range(count)
    ]
    copies = draw(st.lists(st.sampled_from(events), max_size=10))
    return [Record(one, 1_000 + draw(st.integers(0, 50))) for one in (*events, *copies)]


class Reference(NamedTuple):
    """What a reader sees of an invoice, computed by brute force from all records at once."""

    events: int
    stage: str
    entered_us: int
    last_occurred_us: int
    deadline_us: int | None
    status: InvoiceStatus
    skipped: tuple[str, ...]
    stages: dict[str, tuple[int, int, int, int]]
    facts: dict[str, str]


def by_brute_force(records: list[Record]) -> Reference:
    """Sort all events by business time, then walk them once: no increments, no shortcuts."""
    names = list(CODES)
    accepted = {r.event.event_id: min(c.accepted_us for c in records if c.event == r.event) for r in records}
    unique = {r.event.event_id: r.event for r in records}.values()
    ordered = sorted(unique, key=lambda e: (e.occurred_us, names.index(e.stage), digest_of(e.event_id)))
    newest = ordered[-1]
    others = [place for place, e in enumerate(ordered) if e.stage != newest.stage]
    stay = ordered[others[-1] + 1 :] if others else ordered
    entered_us = min(accepted[e.event_id] for e in stay)
    limit_us = None if newest.stage == "posting" else LIMITS_US[newest.stage]
    known: dict[str, str] = {}
    for e in ordered:
        known |= {name: str(value) for name in FACT_NAMES if (value := getattr(e, name)) is not None}
    stages = {}
    for name in names:
        of_stage = [e for e in ordered if e.stage == name]
        if of_stage:
            times_us = [e.occurred_us for e in of_stage]
            first_accepted_us = min(accepted[e.event_id] for e in of_stage)
            stages[name] = (len(of_stage), min(times_us), max(times_us), first_accepted_us)
    was_closed = InvoiceStatus.REOPENED if "posting" in stages else InvoiceStatus.OPEN
    return Reference(
        events=len(ordered),
        stage=newest.stage,
        entered_us=entered_us,
        last_occurred_us=newest.occurred_us,
        deadline_us=None if limit_us is None else entered_us + limit_us,
        status=InvoiceStatus.CLOSED if newest.stage == "posting" else was_closed,
        skipped=tuple(name for name in names[: names.index(newest.stage)] if name not in stages),
        stages=stages,
        facts=known,
    )


def seen_by_a_reader(state: InvoiceState) -> Reference:
    """The same, read off the folded state."""
    return Reference(
        events=state.events,
        stage=state.current_stage(JOURNEY).name,
        entered_us=state.entered_us,
        last_occurred_us=state.last_occurred_us,
        deadline_us=state.deadline_us(JOURNEY),
        status=state.status(JOURNEY),
        skipped=state.skipped(JOURNEY),
        stages={JOURNEY.by_code[code].name: msgspec.structs.astuple(r) for code, r in state.stages.items()},
        facts=state.known(),
    )


@settings(max_examples=200)
@given(histories(), st.data())
def test_any_order_and_any_repetition_end_in_the_same_state(history: list[Record], data: st.DataObject) -> None:
    """Two arrivals of the same records are equal in value and, once stored, to the byte."""
    one = folded(data.draw(st.permutations(history)))
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=5))
    other = folded(data.draw(st.permutations(history + repeated)))

    assert one == other
    assert stored(one) == stored(other)


@settings(max_examples=200)
@given(histories(), st.data())
def test_the_state_is_what_brute_force_finds(history: list[Record], data: st.DataObject) -> None:
    """Everything that a reader sees agrees with a recomputation from the whole set of events."""
    state = folded(data.draw(st.permutations(history)))

    assert seen_by_a_reader(state) == by_brute_force(history)


@given(histories())
def test_only_events_that_still_say_something_keep_their_facts(history: list[Record]) -> None:
    """However long an invoice lives, it holds each field once, the newest event's facts first."""
    facts = folded(history).facts

    held = [place for group in facts for place, value in enumerate(group.values) if value is not None]
    assert len(held) == len(set(held))
    assert all(any(group.values) for group in facts)
    assert [group.occurred_us for group in facts] == sorted((group.occurred_us for group in facts), reverse=True)


@given(histories(), st.data())
def test_a_table_in_between_changes_nothing(history: list[Record], data: st.DataObject) -> None:
    """Storing and reading the state after any event leads to the same end as never storing it."""
    cut = data.draw(st.integers(0, len(history)))
    state = decode_tracked(stored(folded(history[:cut]))).state
    for record in history[cut:]:
        fold(state, record.event, record.accepted_us, JOURNEY)

    assert state == folded(history)


@given(histories())
def test_each_event_is_new_once(history: list[Record]) -> None:
    """`fold` says of every event exactly once that it is new, however often it comes."""
    state = InvoiceState()
    new = [record.event.event_id for record in history if fold(state, record.event, record.accepted_us, JOURNEY)]

    assert sorted(new) == sorted({record.event.event_id for record in history})


@given(histories())
def test_folding_everything_again_changes_nothing(history: list[Record]) -> None:
    """A replay from the start of the log leaves every byte as it was."""
    assert stored(folded(history + history)) == stored(folded(history))


def stored_by_brute_force(records: list[Record]) -> InvoiceState:
    """The whole state, computed from all records at once."""
    seen = by_brute_force(records)
    names = list(CODES)
    accepted = {r.event.event_id: min(c.accepted_us for c in records if c.event == r.event) for r in records}
    unique = {r.event.event_id: r.event for r in records}.values()

    def key(e: Event) -> tuple[int, int, int]:
        return e.occurred_us, names.index(e.stage), digest_of(e.event_id)

    newest_first = sorted(unique, key=key, reverse=True)
    elsewhere = next((e for e in newest_first if e.stage != seen.stage), None)
    stay = [e for e in reversed(newest_first) if e.stage == seen.stage and (not elsewhere or key(e) > key(elsewhere))]
    said: set[str] = set()
    facts = []
    for e in newest_first:
        says = [name for name in FACT_NAMES if getattr(e, name) is not None and name not in said]
        values = [str(getattr(e, name)) if name in says else None for name in FACT_NAMES]
        if says:
            facts.append(Facts(e.occurred_us, CODES[e.stage], digest_of(e.event_id), values))
        said |= set(says)
    return InvoiceState(
        seen=sorted(digest_of(e.event_id) for e in unique),
        stages={CODES[name]: StageRecord(*seen.stages[name]) for name in sorted(seen.stages, key=CODES.__getitem__)},
        stage=CODES[seen.stage],
        stay=[Step(e.occurred_us, digest_of(e.event_id), accepted[e.event_id]) for e in stay],
        before=(elsewhere.occurred_us, CODES[elsewhere.stage], digest_of(elsewhere.event_id))
        if elsewhere
        else (0, 0, 0),
        facts=facts,
    )


@st.composite
def batches(draw: st.DrawFn, records: list[Record]) -> list[list[Record]]:
    """The records in order, several at a time."""
    cuts = sorted(draw(st.sets(st.integers(0, len(records)))) | {0, len(records)})
    return [records[start:end] for start, end in pairwise(cuts)]


@settings(max_examples=300)
@given(histories(), st.data())
def test_what_is_stored_is_what_brute_force_finds(history: list[Record], data: st.DataObject) -> None:
    """To the byte, in any order, however many events are folded at once."""
    state = InvoiceState()
    for batch in data.draw(batches(data.draw(st.permutations(history)))):
        fold_all(state, batch, JOURNEY)

    assert stored(state) == stored(stored_by_brute_force(history))


@settings(max_examples=300)
@given(histories(), st.data())
def test_several_at_once_are_the_same_as_one_by_one(history: list[Record], data: st.DataObject) -> None:
    """The same bytes and the same answers, even where two events share an id and differ."""
    namesakes = [record._replace(event=data.draw(st.sampled_from(history)).event) for record in history[:3]]
    twins = [
        Record(msgspec.structs.replace(record.event, event_id=history[0].event.event_id), record.accepted_us)
        for record in namesakes
    ]
    arrivals = data.draw(st.permutations(history + twins))
    one, several = InvoiceState(), InvoiceState()

    new = [fold(one, record.event, record.accepted_us, JOURNEY) for record in arrivals]
    answers = [answer for batch in data.draw(batches(arrivals)) for answer in fold_all(several, batch, JOURNEY)]

    assert answers == new
    assert stored(several) == stored(one)


def test_nothing_at_once_changes_nothing() -> None:
    """No events, no answers."""
    state = InvoiceState()

    assert fold_all(state, [], JOURNEY) == []
    assert state == InvoiceState()


def test_a_copy_that_was_accepted_earlier_counts_for_the_time_of_entry() -> None:
    """The stage was entered when the event was first accepted, even if that copy is folded last."""
    state = folded([Record(event("E1", "ingestion", 5), 1_000), Record(event("E1", "ingestion", 5), 900)])

    assert (state.entered_us, state.deadline_us(JOURNEY), state.events) == (900, 1_000, 1)


def test_two_events_under_one_id_count_as_the_one_folded_first() -> None:
    """An id that is used again for something else neither counts twice nor moves the invoice."""
    first = Record(event("E1", "reconciliation", 5, payee_code="P1"), 1_000)
    other = Record(event("E1", "posting", 9, payee_code="P2"), 1_001)

    state = folded([first])
    assert fold(state, other.event, other.accepted_us, JOURNEY) is False

    assert stored(state) == stored(folded([first]))


def test_an_invoice_closes_reopens_and_closes_again() -> None:
    """Reaching the last stage closes it; a later event elsewhere reopens it, and its limit counts from then."""
    state = folded([Record(event("E1", "ingestion", 1), 1_000)])
    assert state.status(JOURNEY) is InvoiceStatus.OPEN
    fold(state, event("E2", "posting", 2), 1_001, JOURNEY)
    assert (state.status(JOURNEY), state.deadline_us(JOURNEY)) == (InvoiceStatus.CLOSED, None)
    fold(state, event("E3", "reconciliation", 3), 1_002, JOURNEY)
    assert (state.status(JOURNEY), state.deadline_us(JOURNEY)) == (InvoiceStatus.REOPENED, 1_502)
    fold(state, event("E4", "posting", 4), 1_003, JOURNEY)
    assert state.status(JOURNEY) is InvoiceStatus.CLOSED


def test_a_late_event_of_an_earlier_stage_does_not_reopen() -> None:
    """What happened before the close is history, whenever it arrives."""
    state = folded([Record(event("E2", "posting", 9), 1_000), Record(event("E1", "ingestion", 1), 5_000)])

    assert state.status(JOURNEY) is InvoiceStatus.CLOSED


def test_skipped_stages_are_named_until_their_events_come() -> None:
    """A stage without any event is skipped when the invoice is past it."""
    state = folded([Record(event("E1", "posting", 9), 1_000)])
    assert state.skipped(JOURNEY) == ("ingestion", "reconciliation", "authorization")

    fold(state, event("E2", "reconciliation", 3), 1_001, JOURNEY)
    assert state.skipped(JOURNEY) == ("ingestion", "authorization")


def test_a_late_event_between_two_stays_moves_the_entry_forward() -> None:
    """A visit elsewhere that becomes known late splits the stay: the limit counts from the return."""
    state = folded([Record(event("E1", "ingestion", 1), 1_000), Record(event("E3", "ingestion", 3), 1_300)])
    assert state.deadline_us(JOURNEY) == 1_100

    fold(state, event("E2", "reconciliation", 2), 1_400, JOURNEY)

    assert (state.current_stage(JOURNEY).name, state.deadline_us(JOURNEY)) == ("ingestion", 1_400)


@example([1, 2, 3])
@given(st.permutations([1, 2, 3]))
def test_events_of_the_same_moment_stand_in_journey_order(order: list[int]) -> None:
    """Systems that stamp whole seconds or days still get the furthest stage, whatever the codes are."""
    tied = {1: event("E1", "ingestion", 7), 2: event("E2", "authorization", 7), 3: event("E3", "posting", 7)}

    state = folded([Record(tied[number], 1_000) for number in order])

    assert state.current_stage(JOURNEY).name == "posting"


def test_amounts_and_dates_are_kept_to_the_digit() -> None:
    """Trailing zeros and signs survive."""
    more = {
        "invoice_amount": "-0.10",
        "currency": "EUR",
        "pqv": "100",
        "invoice_date": date(2025, 1, 9),
    }
    state = folded([Record(event("E1", "ingestion", 1, **more), 1_000)])

    assert state.known() == {"invoice_amount": "-0.10", "currency": "EUR", "pqv": "100", "invoice_date": "2025-01-09"}
    assert (state.fact("invoice_amount"), state.fact("ppv")) == ("-0.10", None)


def test_every_fact_has_its_place() -> None:
    """No two fields of an event are mixed up on their way into the state."""
    more = {
        name: date(2025, 1, place + 1) if name.endswith("_date") else f"value {place}"
        for place, name in enumerate(FACT_NAMES)
    }

    state = folded([Record(event("E1", "ingestion", 1, **more), 1_000)])

    assert state.known() == {name: str(value) for name, value in more.items()}


def test_an_event_of_an_unknown_stage_changes_nothing() -> None:
    """The event is refused before the state is touched, so that it can be quarantined alone."""
    state = folded([Record(event("E1", "ingestion", 1), 1_000)])
    before = stored(state)

    with pytest.raises(UnknownStageError, match=r"'archiving'; topics\.yaml lists"):
        fold(state, event("E2", "archiving", 2), 1_001, JOURNEY)

    assert stored(state) == before


def test_a_stage_lost_from_the_catalogue_stops_the_fold() -> None:
    """State that names it is not guessed at; the message says how to go on."""
    shorter = Journey(JOURNEY.stages[1:])
    state = folded([Record(event("E1", "ingestion", 1), 1_000)])

    with pytest.raises(StageLostError, match=r"code 4.*put the stage back"):
        fold(state, event("E2", "posting", 2), 1_001, shorter)
