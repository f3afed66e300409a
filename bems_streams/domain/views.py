"""What the cell tells others about an invoice: the records of `invoices.status` and `invoices.alerts`.

Times are RFC 3339 in UTC; amounts are exact text; facts that are not known are left out. Readers ignore unknown fields.
Not here: when to publish one (flows), which topic it goes to (catalogue).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from bems_streams.domain.codec import TrackedInvoice
from bems_streams.domain.event import instant, instants
from bems_streams.domain.journey import Journey
from bems_streams.domain.state import InvoiceStatus


class StageDocument(msgspec.Struct, frozen=True, gc=False):
    """What has happened in one stage."""

    events: int
    first_occurred_at: datetime
    last_occurred_at: datetime
    first_accepted_at: datetime


class _StatusDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is given by position, which is a µs faster than by name."""

    invoice_id: str
    revision: int
    status: InvoiceStatus
    stage: str
    stage_entered_at: datetime
    deadline: datetime | None
    stuck_since: datetime | None
    last_occurred_at: datetime
    updated_at: datetime
    events: int
    skipped_stages: tuple[str, ...]
    stages: dict[str, StageDocument]
    payee_code: str | None = None
    legal_entity_id: str | None = None
    invoice_date: str | None = None
    invoice_due_date: str | None = None
    invoice_amount: str | None = None
    currency: str | None = None
    matched_amount: str | None = None
    authorized_amount: str | None = None
    ppv: str | None = None
    pqv: str | None = None


class StatusDocument(_StatusDocument, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The newest state of one invoice. `revision` only grows: of two documents, the one with the higher is newer."""

    cell: str
    region: str


class AlertKind(StrEnum):
    """An invoice stayed longer than its stage allows; or one that did has moved on."""

    STUCK = "stuck"
    CLEARED = "cleared"


class AlertDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alert. Invoice, stage, deadline and kind together identify it: a repetition is the same alert.

    A cleared alert carries the stage, deadline and entry time of the stuck alert that it ends.
    """

    invoice_id: str
    kind: AlertKind
    stage: str
    deadline: datetime
    stage_entered_at: datetime
    raised_at: datetime
    invoice_amount: str | None = None
    currency: str | None = None
    payee_code: str | None = None
    legal_entity_id: str | None = None
    reason: str
    moved_to: str | None = None
    cell: str
    region: str


_encode = msgspec.json.Encoder().encode
_decode_status = msgspec.json.Decoder(StatusDocument).decode
_decode_alert = msgspec.json.Decoder(AlertDocument).decode


def encode_document(document: StatusDocument | AlertDocument) -> bytes:
    """JSON, as published."""
    return _encode(document)


def decode_status(raw: bytes | str) -> StatusDocument:
    """A record of `invoices.status`. Raises msgspec.DecodeError for anything else."""
    return _decode_status(raw)


def decode_alert(raw: bytes | str) -> AlertDocument:
    """A record of `invoices.alerts`. Raises msgspec.DecodeError for anything else."""
    return _decode_alert(raw)


def status_document(
    invoice_id: str, tracked: TrackedInvoice, journey: Journey, *, updated_us: int, cell: str, region: str
) -> StatusDocument:
    """Where the invoice is and all that is known of it. StageLostError when the catalogue lost one of its stages."""
    state, by_code = tracked.state, journey.by_code
    deadline_us = state.deadline_us(journey)
    moments_us = [state.entered_us, deadline_us or 0, tracked.alerted_deadline_us, state.last_occurred_us, updated_us]
    for record in state.stages.values():
        moments_us += (record.first_occurred_us, record.last_occurred_us, record.first_accepted_us)
    moments = instants(moments_us)
    stages, at = {}, 5
    for code, record in state.stages.items():
        stages[by_code[code].name] = StageDocument(record.events, moments[at], moments[at + 1], moments[at + 2])
        at += 3
    payee, entity, invoiced, due, amount, currency, matched, authorized, ppv, pqv = state.newest()
    return StatusDocument(
        invoice_id,
        tracked.revision,
        state.status(journey),
        by_code[state.stage].name,
        moments[0],
        None if deadline_us is None else moments[1],
        moments[2] if tracked.alerted_deadline_us else None,
        moments[3],
        moments[4],
        state.events,
        state.skipped(journey),
        stages,
        payee,
        entity,
        invoiced,
        due,
        amount,
        currency,
        matched,
        authorized,
        ppv,
        pqv,
        cell=cell,
        region=region,
    )


def stuck_alert(
    invoice_id: str, tracked: TrackedInvoice, journey: Journey, *, raised_us: int, cell: str, region: str
) -> AlertDocument:
    """The alert that `tracked` has just noted (`note_alert`)."""
    stage = journey.by_code[tracked.alerted_stage].name
    dwell_us, limit_us = (moment - tracked.alerted_entered_us for moment in (raised_us, tracked.alerted_deadline_us))
    return AlertDocument(
        kind=AlertKind.STUCK,
        stage=stage,
        reason=f"{duration_text(dwell_us)} in {stage}, limit {duration_text(limit_us)}",
        **_common(invoice_id, tracked, raised_us, cell, region),
    )


def cleared_alert(
    invoice_id: str, tracked: TrackedInvoice, journey: Journey, *, raised_us: int, cell: str, region: str
) -> AlertDocument:
    """The end of the alert that `tracked` still remembers (call it before `forget_alert`)."""
    stage, moved_to = journey.by_code[tracked.alerted_stage].name, tracked.state.current_stage(journey).name
    reason = f"moved to {moved_to} after {duration_text(raised_us - tracked.alerted_entered_us)} in {stage}"
    if moved_to == stage:
        reason = f"still in {stage}, but events or limits that came later give it another deadline"
    return AlertDocument(
        kind=AlertKind.CLEARED,
        stage=stage,
        reason=reason,
        moved_to=moved_to,
        **_common(invoice_id, tracked, raised_us, cell, region),
    )


_UNITS: Final = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000))


def duration_text(duration_us: int) -> str:
    """A duration for people, in its two largest neighbouring units, rounded down: `3 days 4 hours`, `250 ms`."""
    for place, (unit, unit_us) in enumerate(_UNITS):
        count, rest_us = divmod(duration_us, unit_us)
        if count > 0:
            smaller = _UNITS[place + 1 : place + 2]
            parts = [(count, unit), *((rest_us // small_us, small) for small, small_us in smaller)]
            return " ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in parts if n)
    return f"{max(duration_us, 0) // 1000} ms"


def _common(invoice_id: str, tracked: TrackedInvoice, raised_us: int, cell: str, region: str) -> dict[str, Any]:
    known = tracked.state.known()
    return {
        "invoice_id": invoice_id,
        "deadline": instant(tracked.alerted_deadline_us),
        "stage_entered_at": instant(tracked.alerted_entered_us),
        "raised_at": instant(raised_us),
        "invoice_amount": known.get("invoice_amount"),
        "currency": known.get("currency"),
        "payee_code": known.get("payee_code"),
        "legal_entity_id": known.get("legal_entity_id"),
        "cell": cell,
        "region": region,
    }
