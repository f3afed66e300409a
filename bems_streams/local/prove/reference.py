"""What the state of every invoice must be, from the bytes of its events alone: sort them, look at the end of the row.

Shares no code with what is judged by it (domain/event.py, fold.py, state.py), and goes another way: it keeps every
event and computes the state anew, where the product folds one event at a time. Not here: comparing (judge_states.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
AMOUNTS: Final = ("invoice_amount", "matched_amount", "authorized_amount", "ppv", "pqv")
TEXTS: Final = ("payee_code", "legal_entity_id", "invoice_date", "invoice_due_date", "currency")
FACTS: Final = (*TEXTS, *AMOUNTS)


class PlainEvent(NamedTuple):
    """One event as its bytes say. `facts` by place in FACTS, amounts as plain decimal text."""

    event_id: str
    invoice_id: str
    stage: str
    occurred_us: int
    accepted_us: int
    facts: tuple[str | None, ...]

    def fact(self, name: str) -> str | None:
        """One of FACTS."""
        return self.facts[FACTS.index(name)]


class _Written(msgspec.Struct, gc=False):
    """An event's JSON. Amounts keep the text that was sent, however it was sent."""

    event_id: str
    invoice_id: str
    stage: str
    occurred_at: str
    payee_code: str | None = None
    legal_entity_id: str | None = None
    invoice_date: str | None = None
    invoice_due_date: str | None = None
    currency: str | None = None
    invoice_amount: Any = None
    matched_amount: Any = None
    authorized_amount: Any = None
    ppv: Any = None
    pqv: Any = None


_read: Final = msgspec.json.Decoder(_Written, float_hook=str).decode


def read_event(raw: bytes | None, accepted_us: int = 0) -> PlainEvent | None:
    """What can be read of a record; None for bytes in which no event can be seen. Checks no rules."""
    try:
        event_id, invoice_id, stage, occurred_at, *facts = msgspec.structs.astuple(_read(raw or b""))
        for place in range(len(TEXTS), len(FACTS)):
            if (amount := facts[place]) is not None:
                facts[place] = _plain(amount)
        return PlainEvent(event_id, invoice_id, stage, moment_us(occurred_at), accepted_us, tuple(facts))
    except (ValueError, TypeError, ArithmeticError, RecursionError):  # msgspec's are ValueErrors
        return None


def _plain(amount: Any) -> str:
    text = amount if type(amount) is str else str(amount)
    return format(Decimal(text), "f") if "e" in text or "E" in text else text


class StageSum(NamedTuple):
    """What has happened in one stage."""

    events: int
    first_occurred_us: int
    last_occurred_us: int
    first_accepted_us: int


@dataclass(frozen=True, slots=True)
class Expected:
    """The state that an invoice must be in."""

    status: str
    stage: str
    entered_us: int
    deadline_us: int | None
    last_occurred_us: int
    events: int
    skipped: tuple[str, ...]
    stages: Mapping[str, StageSum]
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Rules:
    """Stages in journey order, and how long an invoice may stay in each."""

    stages: Sequence[str]
    limits_us: Mapping[str, int]

    def in_order(self, events: Iterable[PlainEvent]) -> list[PlainEvent]:
        """Distinct events in business order: by when they happened, then by stage, then by a digest of their id.

        Of copies the first counts, with the earliest acceptance of any.
        """
        distinct: dict[str, PlainEvent] = {}
        for event in sorted(events, key=lambda event: event.accepted_us):
            distinct.setdefault(event.event_id, event)
        rank = {stage: place for place, stage in enumerate(self.stages)}
        return sorted(
            distinct.values(), key=lambda event: (event.occurred_us, rank[event.stage], _digest(event.event_id))
        )

    def stay(self, ordered: Sequence[PlainEvent]) -> Sequence[PlainEvent]:
        """The events since the invoice last came into the stage it is in."""
        start = len(ordered)
        while start and ordered[start - 1].stage == ordered[-1].stage:
            start -= 1
        return ordered[start:]

    def deadline(self, ordered: Sequence[PlainEvent]) -> tuple[str, int | None]:
        """(stage, when the invoice counts as stuck in it); None when it never does."""
        stage, entered_us = ordered[-1].stage, min(event.accepted_us for event in self.stay(ordered))
        limit_us = self.limits_us.get(stage)
        return stage, None if limit_us is None or stage == self.stages[-1] else entered_us + limit_us

    def expected(self, events: Iterable[PlainEvent]) -> Expected:
        """The state after these events, of which there is at least one, in any order and with any copies."""
        ordered = self.in_order(events)
        stage, deadline_us = self.deadline(ordered)
        stages = {name: _sum([e for e in ordered if e.stage == name]) for name in {e.stage for e in ordered}}
        last = self.stages[-1]
        open_status = "reopened" if last in stages else "open"
        facts = {
            name: newest
            for place, name in enumerate(FACTS)
            if (newest := next((e.facts[place] for e in reversed(ordered) if e.facts[place] is not None), None))
            is not None
        }
        return Expected(
            status="closed" if stage == last else open_status,
            stage=stage,
            entered_us=min(event.accepted_us for event in self.stay(ordered)),
            deadline_us=deadline_us,
            last_occurred_us=ordered[-1].occurred_us,
            events=len(ordered),
            skipped=tuple(name for name in self.stages[: self.stages.index(stage)] if name not in stages),
            stages=stages,
            facts=facts,
        )


def _digest(event_id: str) -> bytes:
    """The documented tie-break of events that happened in the same microsecond and stage."""
    return blake2b(event_id.encode(), digest_size=8).digest()


def _sum(events: Sequence[PlainEvent]) -> StageSum:
    occurred = [event.occurred_us for event in events]
    return StageSum(len(events), min(occurred), max(occurred), min(event.accepted_us for event in events))


def shown(document: Mapping[str, Any]) -> Expected:
    """The same facts, from a record of `invoices.status` (decoded JSON). Raises KeyError, ValueError or TypeError."""
    return Expected(
        status=document["status"],
        stage=document["stage"],
        entered_us=moment_us(document["stage_entered_at"]),
        deadline_us=None if document["deadline"] is None else moment_us(document["deadline"]),
        last_occurred_us=moment_us(document["last_occurred_at"]),
        events=document["events"],
        skipped=tuple(document["skipped_stages"]),
        stages={
            name: StageSum(
                stage["events"],
                moment_us(stage["first_occurred_at"]),
                moment_us(stage["last_occurred_at"]),
                moment_us(stage["first_accepted_at"]),
            )
            for name, stage in document["stages"].items()
        },
        facts={name: document[name] for name in FACTS if document.get(name) is not None},
    )


def moment_us(text: str) -> int:
    """RFC 3339 to microseconds since 1970 UTC. ValueError for anything else."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
