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
from bems_streams.domain.state import FACT_NAMES, Facts, InvoiceState, StageRecord, Step


def digest_of(event_id: str) -> int:
    """64 bits standing for an event id within its invoice (a collision among 1,000 ids: 3 in 10^14)."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "big")


def fold(state: InvoiceState, event: Event, accepted_us: int, journey: Journey) -> bool:
    """Apply `event`, accepted by the broker at `accepted_us`, to `state` in place.

    Returns True when the event was new. A copy of an event that is already in changes nothing, save that the
    earliest of its acceptance times counts. KeyError when the stage is not part of the journey.
    """
    stage = journey.by_name[event.stage]
    digest = digest_of(event.event_id)
    occurred_us = event.occurred_us
    place = bisect_left(state.seen, digest)
    if place < len(state.seen) and state.seen[place] == digest:
        _earlier_copy(state, stage.code, Step(occurred_us, digest, accepted_us))
        return False
    state.seen.insert(place, digest)
    _count(state, stage.code, occurred_us, accepted_us)
    _move(state, stage.code, Step(occurred_us, digest, accepted_us), journey)
    values = _values(event)
    if values:
        _learn(state, Facts(occurred_us, stage.code, digest, values), journey)
    return True


def _earlier_copy(state: InvoiceState, code: int, copy: Step) -> None:
    record = state.stages.get(code)
    if record is not None and copy.accepted_us < record.first_accepted_us:
        record.first_accepted_us = copy.accepted_us
    for place, step in enumerate(state.stay):
        if step.digest == copy.digest and copy.accepted_us < step.accepted_us:
            state.stay[place] = Step(step.occurred_us, step.digest, copy.accepted_us)


def _count(state: InvoiceState, code: int, occurred_us: int, accepted_us: int) -> None:
    record = state.stages.get(code)
    if record is None:
        state.stages[code] = StageRecord(1, occurred_us, occurred_us, accepted_us)
        if len(state.stages) > 1:
            state.stages = dict(sorted(state.stages.items()))
        return
    record.events += 1
    record.first_occurred_us = min(record.first_occurred_us, occurred_us)
    record.last_occurred_us = max(record.last_occurred_us, occurred_us)
    record.first_accepted_us = min(record.first_accepted_us, accepted_us)


def _move(state: InvoiceState, code: int, step: Step, journey: Journey) -> None:
    """Keep `stage`, `stay` and `before` what they would be had all events come in business order.

    Business order is (occurred_us, stage rank, digest). Events before `before` can never matter again: `before` is an
    event of another stage, events are never taken back, so no later stay reaches across it.
    """
    rank = journey.rank
    if not state.stay:
        state.stage, state.stay = code, [step]
        return
    newest = state.stay[-1]
    if code == state.stage:
        before = state.before
        if not before[1] or _key(step, code, rank) > (before[0], rank[before[1]], before[2]):
            state.stay.insert(bisect_left(state.stay, step), step)
        return
    key = _key(step, code, rank)
    if key > _key(newest, state.stage, rank):
        state.before = (newest.occurred_us, state.stage, newest.digest)
        state.stage, state.stay = code, [step]
        return
    before = state.before
    if not before[1] or key > (before[0], rank[before[1]], before[2]):
        state.before = (step.occurred_us, code, step.digest)
        state.stay = [kept for kept in state.stay if _key(kept, state.stage, rank) > key]


def _key(step: Step, code: int, rank: Mapping[int, int]) -> tuple[int, int, int]:
    return (step.occurred_us, rank[code], step.digest)


def _values(event: Event) -> dict[str, str]:
    values: dict[str, str] = {}
    for name in FACT_NAMES:
        value = getattr(event, name)
        if value is not None:
            values[name] = _text(value)
    return values


def _text(value: str | Decimal | date) -> str:
    """Exact text: decimals without exponent, dates as ISO 8601."""
    if isinstance(value, str):
        return value
    return format(value, "f") if isinstance(value, Decimal) else value.isoformat()


def _learn(state: InvoiceState, new: Facts, journey: Journey) -> None:
    """Newest value per field wins; a group of facts that lost all its fields goes."""
    rank = journey.rank
    kept = sorted(
        [*state.facts, new], key=lambda facts: (facts.occurred_us, rank[facts.stage], facts.digest), reverse=True
    )
    known: set[str] = set()
    result: list[Facts] = []
    for facts in kept:
        values = {name: value for name, value in facts.values.items() if name not in known}
        if values:
            known.update(values)
            result.append(Facts(facts.occurred_us, facts.stage, facts.digest, values))
    state.facts = result
