"""What is known about one invoice: the value that `fold` builds, and what can be read off it.

Everything here is canonical: two states built from the same set of events, in any order, are equal.
Not here: how events change it (fold.py), how it is stored (codec.py).
"""

from enum import StrEnum
from typing import Final

import msgspec

from bems_streams.domain.journey import Journey, Stage

# The order is part of the stored format: append only, together with a migration (codec.py).
FACT_NAMES: Final = (
    "payee_code",
    "legal_entity_id",
    "invoice_date",
    "invoice_due_date",
    "invoice_amount",
    "currency",
    "matched_amount",
    "authorized_amount",
    "ppv",
    "pqv",
)


class InvoiceStatus(StrEnum):
    """Where the invoice is in its life."""

    OPEN = "open"
    CLOSED = "closed"
    REOPENED = "reopened"


class StageRecord(msgspec.Struct, array_like=True, gc=False):
    """What has happened in one stage. Times in microseconds since 1970 UTC."""

    events: int
    first_occurred_us: int
    last_occurred_us: int
    first_accepted_us: int


class Step(msgspec.Struct, array_like=True, order=True, frozen=True, gc=False):
    """One event of the current stay, ordered by business time."""

    occurred_us: int
    digest: int
    accepted_us: int


class Facts(msgspec.Struct, array_like=True, gc=False):
    """Field values that came with one event and that no later event (in business order) has replaced.

    `values` go by place in FACT_NAMES; None where the event says nothing or a later one said it anew.
    """

    occurred_us: int
    stage: int
    digest: int
    values: list[str | None]


class InvoiceState(msgspec.Struct, array_like=True):
    """All that is known of one invoice.

    Reading anything but `events` and `fact` needs at least one event.

    seen       sorted 64-bit digests of event ids, kept for the life of the invoice
    stages     by stage code
    stage      code of the stage of the newest event in business order (0: nothing yet)
    stay       the events since the invoice last entered that stage, oldest first
    before     business time of the newest event of any other stage, with its stage code and digest; zeros for none
    facts      newest first; no field name twice
    """

    seen: list[int] = []
    stages: dict[int, StageRecord] = {}
    stage: int = 0
    stay: list[Step] = []
    before: tuple[int, int, int] = (0, 0, 0)
    facts: list[Facts] = []

    @property
    def events(self) -> int:
        """Distinct events folded in."""
        return len(self.seen)

    @property
    def entered_us(self) -> int:
        """When the current stay began, by arrival time: the earliest acceptance among its events."""
        return min([step.accepted_us for step in self.stay])

    @property
    def last_occurred_us(self) -> int:
        """Business time of the newest event."""
        return self.stay[-1].occurred_us

    def fact(self, name: str) -> str | None:
        """The newest value of a field of FACT_NAMES, as text."""
        return self.known().get(name)

    def known(self) -> dict[str, str]:
        """The newest value of every field of FACT_NAMES that any event gave, as text."""
        return {
            name: value
            for facts in self.facts
            for name, value in zip(FACT_NAMES, facts.values, strict=True)
            if value is not None
        }

    def current_stage(self, journey: Journey) -> Stage:
        """The stage the invoice is in. StageLostError when the catalogue lost it."""
        return journey.by_code[self.stage]

    def status(self, journey: Journey) -> InvoiceStatus:
        """Open, closed, or open again after it was closed."""
        if self.stage == journey.final.code:
            return InvoiceStatus.CLOSED
        return InvoiceStatus.REOPENED if journey.final.code in self.stages else InvoiceStatus.OPEN

    def deadline_us(self, journey: Journey) -> int | None:
        """When the invoice counts as stuck if it has not moved on, on the wall clock; None when it never does."""
        limit_us = journey.by_code[self.stage].stuck_after_us
        if limit_us is None or self.stage == journey.final.code:
            return None
        return self.entered_us + limit_us

    def skipped(self, journey: Journey) -> tuple[str, ...]:
        """Names of earlier stages that never sent an event."""
        here = journey.rank[self.stage]
        return tuple(stage.name for stage in journey.stages[:here] if stage.code not in self.stages)
