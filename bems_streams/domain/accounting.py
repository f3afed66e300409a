"""What an agent without a store tells the ledger (`invoices.ledger`), and what is written down of commands that change
things (`invoices.audit`).

Times are RFC 3339 in UTC. Not here: what the ledger does with it (ports/ledger.py), who publishes it (flows).
"""

from datetime import datetime
from typing import Final

import msgspec


class SpanDocument(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Consecutive offsets of one topic, accepted within one minute, by outcome."""

    topic: str
    first_offset: int
    next_offset: int
    minute: datetime
    stored: int
    duplicates: int
    dead_lettered: int
    retrying: int


class NoteDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One record that was set aside, or came back from a lane. `outcome`: a RecordOutcome of the ledger."""

    topic: str
    offset: int
    outcome: str
    accepted_at: datetime
    noted_at: datetime
    code: str | None = None
    reason: str | None = None
    attempts: int = 0
    not_before: datetime | None = None
    invoice_id: str | None = None
    event_id: str | None = None


class AccountDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one agent did with one partition number in one transaction; published in that same transaction."""

    agent: str
    partition: int
    spans: tuple[SpanDocument, ...] = ()
    notes: tuple[NoteDocument, ...] = ()
    cell: str
    region: str


class AuditDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of one run of a command. All steps have the same `run`; the newest tells how it stands.

    filter      what was chosen, as typed
    prediction  records by predicted outcome, before anything was sent
    result      records by outcome so far
    positions   where a resumed run goes on: "topic/partition" -> offset; `ends`: where it began to end
    """

    run: str
    action: str
    step: str  # started, sending, paused, stopped, finished
    who: str
    at: datetime
    agent: str
    filter: dict[str, str]
    prediction: dict[str, int] = {}
    result: dict[str, int] = {}
    positions: dict[str, int] = {}
    ends: dict[str, int] = {}
    reason: str | None = None
    cell: str
    region: str


_encode: Final = msgspec.json.Encoder().encode
_decode_account: Final = msgspec.json.Decoder(AccountDocument).decode
_decode_audit: Final = msgspec.json.Decoder(AuditDocument).decode


def encode_accounting(document: AccountDocument | AuditDocument) -> bytes:
    """JSON, as published."""
    return _encode(document)


def decode_account(raw: bytes | str) -> AccountDocument:
    """A record of `invoices.ledger`. Raises msgspec.DecodeError for anything else."""
    return _decode_account(raw)


def decode_audit(raw: bytes | str) -> AuditDocument:
    """A record of `invoices.audit`. Raises msgspec.DecodeError for anything else."""
    return _decode_audit(raw)
