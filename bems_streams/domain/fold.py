"""`fold`: how one event changes what is known of its invoice.

Pure; idempotent by event id; the order of arrival does not matter: state is a function of the set of events.
Each part of the state is a maximum, a minimum, a sum over distinct events, or a set, which is why.
"""

from bisect import bisect_left
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from hashlib import blake2b

from bems_streams.domain.event import Event
from bems_streams.domain.journey import Journey
from bems_streams.domain.state import Facts, InvoiceState, StageRecord, Step


def digest_of(event_id: str) -> int:
    """64 bits standing for an event id within its invoice (a collision among 1,000 ids: 3 in 10^14)."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "big")


def fold(state: InvoiceState, event: Event, accepted_us: int, journey: Journey) -> bool:
    """Apply `event`, accepted by the broker at `accepted_us`, to `state` in place.

    Returns True when the event was new. A copy of an event that is already in changes nothing, save that the
    earliest of its acceptance times counts. The id alone makes a copy: should two events share an id and differ, the
    one folded first counts. Within a stage that is the one that stands first in the log, so a replay agrees; that
    they differ is for the store to notice, which has the content.

    Raises UnknownStageError, before any change, when the journey lacks the event's stage. Raises StageLostError when
    it lacks one that `state` names; `state` is then unfit for use.
    """
    code = journey.by_name[event.stage].code
    digest, occurred_us = digest_of(event.event_id), event.occurred_us
    seen = state.seen
    place = bisect_left(seen, digest)
    if place < len(seen) and seen[place] == digest:
        _earlier_copy(state, code, digest, accepted_us)
        return False
    seen.insert(place, digest)
    _count(state, code, occurred_us, accepted_us)
    _move(state, code, Step(occurred_us, digest, accepted_us), journey.rank)
    values = _values(event)
    if values.count(None) < len(values):
        _learn(state, Facts(occurred_us, code, digest, values), journey.rank)
    return True


def _earlier_copy(state: InvoiceState, code: int, digest: int, accepted_us: int) -> None:
    record = state.stages.get(code)
    if record is not None and accepted_us < record.first_accepted_us:
        record.first_accepted_us = accepted_us
    for place, step in enumerate(state.stay):
        if step.digest == digest and accepted_us < step.accepted_us:
            state.stay[place] = Step(step.occurred_us, digest, accepted_us)


def _count(state: InvoiceState, code: int, occurred_us: int, accepted_us: int) -> None:
    record = state.stages.get(code)
    if record is None:
        state.stages[code] = StageRecord(1, occurred_us, occurred_us, accepted_us)
        state.stages = dict(sorted(state.stages.items()))
        return
    record.events += 1
    if occurred_us > record.last_occurred_us:
        record.last_occurred_us = occurred_us
    elif occurred_us < record.first_occurred_us:
        record.first_occurred_us = occurred_us
    record.first_accepted_us = min(record.first_accepted_us, accepted_us)


def _move(state: InvoiceState, code: int, step: Step, rank: Mapping[int, int]) -> None:
    """Keep `stage`, `stay` and `before` what they would be had all events come in business order.

    Business order is (occurred_us, stage rank, digest). Events before `before` can never matter again: `before` is an
    event of another stage, events are never taken back, so no later stay reaches across it.
    """
    stay = state.stay
    if not stay:
        state.stage, state.stay = code, [step]
        return
    key, newest = (step.occurred_us, rank[code], step.digest), stay[-1]
    if code != state.stage and key > (newest.occurred_us, rank[state.stage], newest.digest):
        state.before = (newest.occurred_us, state.stage, newest.digest)
        state.stage, state.stay = code, [step]
        return
    before_us, before_code, before_digest = state.before
    if before_code and key < (before_us, rank[before_code], before_digest):
        return
    if code == state.stage:
        stay.insert(bisect_left(stay, step), step)
    else:
        state.before = (step.occurred_us, code, step.digest)
        here = rank[state.stage]
        state.stay = [kept for kept in stay if (kept.occurred_us, here, kept.digest) > key]


def _values(event: Event) -> list[str | None]:
    """By place in FACT_NAMES."""
    return [
        event.payee_code,
        event.legal_entity_id,
        _text(event.invoice_date),
        _text(event.invoice_due_date),
        _text(event.invoice_amount),
        event.currency,
        _text(event.matched_amount),
        _text(event.authorized_amount),
        _text(event.ppv),
        _text(event.pqv),
    ]


def _text(value: Decimal | date | None) -> str | None:
    """Exact: an Amount in plain digits, a date as ISO 8601."""
    return None if value is None else str(value)


def _learn(state: InvoiceState, new: Facts, rank: Mapping[int, int]) -> None:
    """Newest value per field wins; facts that lost all their values go."""
    key = (new.occurred_us, rank[new.stage], new.digest)
    newer: list[Facts] = []
    older: list[Facts] = []
    for facts in state.facts:
        if (facts.occurred_us, rank[facts.stage], facts.digest) > key:
            newer.append(facts)
            _yield_to(facts.values, new.values)
        else:
            older.append(facts)
    for facts in older:
        _yield_to(new.values, facts.values)
    state.facts = [facts for facts in (*newer, new, *older) if facts.values.count(None) < len(facts.values)]


def _yield_to(newer: list[str | None], older: list[str | None]) -> None:
    """Drop from `older` what `newer` says."""
    for place, value in enumerate(newer):
        if value is not None:
            older[place] = None
