"""What is known about one invoice: the value that `fold` builds, and what can be read off it.

Everything here is canonical: two states built from the same set of events, in any order, are equal.
Not here: how events change it (fold.py), how it is stored (codec.py).
"""

from collections.abc import Sequence
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


_NOTHING: Final = (None,) * len(FACT_NAMES)


class InvoiceStatus(StrEnum):
    """Where the invoice is in its life."""

    OPEN = "open"
    CLOSED = "closed"
    REOPENED = "reopened"


_OPEN: Final = InvoiceStatus.OPEN


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


class Stay:
    """What can be read off the current stage and the events since it was entered, whatever else is known."""

    __slots__ = ()
    stage: int
    stay: list[Step]

    @property
    def entered_us(self) -> int:
        """When the current stay began, by arrival time: the earliest acceptance among its events."""
        entered_us = self.stay[0].accepted_us
        for step in self.stay:
            if step.accepted_us < entered_us:  # noqa: PLR1730 min() takes five times as long
                entered_us = step.accepted_us
        return entered_us

    def deadline_us(self, journey: Journey) -> int | None:
        """When the invoice counts as stuck if it has not moved on, on the wall clock; None when it never does."""
        limit_us = journey.by_code[self.stage].stuck_after_us
        if limit_us is None or self.stage == journey.final.code:
            return None
        return self.entered_us + limit_us


class CurrentStay(msgspec.Struct, Stay, array_like=True, gc=False):
    """The beginning of a stored InvoiceState, for those who need its deadline only: the rest is passed over."""

    seen: msgspec.Raw
    stages: msgspec.Raw
    stage: int
    stay: list[Step]


class InvoiceState(msgspec.Struct, Stay, array_like=True, gc=False):
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
    def last_occurred_us(self) -> int:
        """Business time of the newest event."""
        return self.stay[-1].occurred_us

    def fact(self, name: str) -> str | None:
        """The newest value of a field of FACT_NAMES, as text."""
        return self.known().get(name)

    def known(self) -> dict[str, str]:
        """The newest value of every field of FACT_NAMES that any event gave, as text."""
        return {name: value for name, value in zip(FACT_NAMES, self.newest(), strict=True) if value is not None}

    def newest(self) -> Sequence[str | None]:
        """The newest values, by place in FACT_NAMES."""
        groups = self.facts
        if not groups:
            return _NOTHING
        newest = groups[0].values
        for older in groups[1:]:
            newest = [new if new is not None else old for new, old in zip(newest, older.values, strict=True)]
        return newest

    def current_stage(self, journey: Journey) -> Stage:
        """The stage the invoice is in. StageLostError when the catalogue lost it."""
        return journey.by_code[self.stage]

    def status(self, journey: Journey) -> InvoiceStatus:
        """Open, closed, or open again after it was closed."""
        final = journey.final.code
        if final not in self.stages:
            return _OPEN
        return InvoiceStatus.CLOSED if self.stage == final else InvoiceStatus.REOPENED

    def skipped(self, journey: Journey) -> tuple[str, ...]:
        """Names of earlier stages that never sent an event."""
        skipped: tuple[str, ...] = ()
        for stage in journey.stages[: journey.rank[self.stage]]:
            if stage.code not in self.stages:
                skipped += (stage.name,)
        return skipped
