"""Writing the event store: its rows, what one write makes durable, what became of it.

Amounts are decimals as text. Not here: reading it back (reading.py), any implementation.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, Protocol

from bems_streams.domain.failures import Failure, StoreAway, Transient
from bems_streams.ports.ledger import Account, Handled
from bems_streams.ports.log import Coordinates


class EventRow(NamedTuple):
    """One stored event: one multi-measure row. Key: (invoice_id, event_id)."""

    event_id: str
    invoice_id: str
    stage: str
    source: str
    occurred_us: int
    accepted_us: int
    stored_us: int
    at: Coordinates
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
    activity: str | None = None
    attributes: str | None = None  # JSON object as text
    correlation_id: str | None = None


class DeadLetterRow(NamedTuple):
    """A record that an agent gave up. Key: its coordinates and the agent. The dead-letter topic keeps its bytes.

    The note goes once the agent has handled the record after all (see ports/ledger.py), and is not taken for one that
    it has handled already.
    """

    at: Coordinates
    agent: str
    code: str
    reason: str
    accepted_us: int
    stored_us: int
    invoice_id: str | None = None
    event_id: str | None = None
    currency: str | None = None
    invoice_amount: str | None = None


class RetryRow(NamedTuple):
    """A record that waits in a lane of an agent. Key: its coordinates and the agent. Goes like a DeadLetterRow, and
    when it becomes one; a later wait replaces it, and a DeadLetterRow from before it began.
    """

    at: Coordinates
    agent: str
    code: str
    reason: str
    attempts: int  # tries so far
    not_before_us: int
    accepted_us: int
    stored_us: int
    invoice_id: str | None = None
    event_id: str | None = None
    currency: str | None = None
    invoice_amount: str | None = None


class DuplicateRow(NamedTuple):
    """A record whose event was stored already from other coordinates. Key: its own coordinates."""

    at: Coordinates
    invoice_id: str
    event_id: str
    accepted_us: int
    stored_us: int
    currency: str | None = None
    invoice_amount: str | None = None


class InvoiceRow(NamedTuple):
    """The newest known state of one invoice, as the tracker published it. Key: invoice_id; `revision` only grows."""

    invoice_id: str
    revision: int
    status: str
    stage: str
    entered_us: int
    last_occurred_us: int
    updated_us: int
    deadline_us: int | None
    stuck_since_us: int | None
    events: int
    document: str  # the whole status record, JSON
    payee_code: str | None = None
    legal_entity_id: str | None = None
    invoice_due_date: str | None = None
    invoice_amount: str | None = None
    currency: str | None = None


class AlertRow(NamedTuple):
    """A stuck or cleared alert. Key: (invoice_id, stage, deadline_us, kind)."""

    invoice_id: str
    stage: str
    deadline_us: int
    kind: str  # stuck | cleared
    raised_us: int
    document: str  # the whole alert record, JSON


@dataclass(frozen=True, slots=True)
class StoreBatch:
    """What one write makes durable, all or nothing, rows that the store refuses aside.

    late_events  refused earlier as late: for the way in that the store keeps for them, the same one where it has none
    handled      the stretches of stage topics that this batch read there itself; each of their records has one row in
                 events, dead_letters or retrying. Rows of other coordinates come back from a lane.
    accounts     what agents without a store of their own say they handled
    """

    events: Sequence[EventRow] = ()
    late_events: Sequence[EventRow] = ()
    dead_letters: Sequence[DeadLetterRow] = ()
    retrying: Sequence[RetryRow] = ()
    invoices: Sequence[InvoiceRow] = ()
    alerts: Sequence[AlertRow] = ()
    handled: Sequence[Handled] = ()
    accounts: Sequence[Account] = ()

    def without(self, refused: Collection[Coordinates]) -> "StoreBatch":
        """What is left to write for a store that refuses these records: neither their rows nor their places in
        `handled`, so that the write which brings their RetryRow or DeadLetterRow accounts for them.
        """
        return replace(
            self,
            events=[row for row in self.events if row.at not in refused],
            late_events=[row for row in self.late_events if row.at not in refused],
            handled=[part for stretch in self.handled for part in stretch.around(refused)],
        )


class WriteOutcome(StrEnum):
    """What became of one event row. STORED and DUPLICATE each stand for exactly one row more, REPLAYED for none."""

    STORED = "stored"  # new
    REPLAYED = "replayed"  # a record from coordinates already stored, or already noted as a duplicate: nothing changed
    DUPLICATE = "duplicate"  # the same event from other coordinates: noted; the row stored first stays as it is


@dataclass(frozen=True, slots=True)
class WriteResult:
    """One outcome per row of `StoreBatch.events`, then of `late_events`, same order.

    A Failure (StoreRefused, OutsideHotWindow) means: this row was not written, the others were, and `handled` was left
    alone. The caller puts the record into its lane, then writes the batch again with a RetryRow or DeadLetterRow in its
    place: the others are replays by then, and the ledger accounts for all.
    """

    outcomes: Sequence[WriteOutcome | Failure]


class EventStore(Protocol):
    """Where rows live. Idempotent: writing a batch again changes nothing. Blocking; call it off the event loop.

    Raises StoreUnavailableError when nothing was written and trying again may help.
    """

    def write(self, batch: StoreBatch) -> WriteResult:
        """Write everything in one transaction; durable and visible to readers on return."""

    def close(self) -> None:
        """Release files and connections."""


class StoreUnavailableError(Exception):
    """The store is away, locked or full (or, with `kind` Throttled, overloaded); nothing of the batch was written."""

    def __init__(self, message: str, kind: type[Transient] = StoreAway) -> None:
        super().__init__(message)
        self.kind = kind


class StoreUnusableError(Exception):
    """The store cannot serve this program until someone acts: a newer schema, a damaged file, a wrong URL."""
