"""Reading the event store: the questions of console, command line and export.

Not here: writing it (store.py), any implementation.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from bems_streams.ports.ledger import Span, Tally
from bems_streams.ports.log import Coordinates, Offsets
from bems_streams.ports.store import AlertRow, DeadLetterRow, DuplicateRow, EventRow, InvoiceRow, RetryRow


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """Rows in the store. `accepted == stored + duplicates + dead_lettered + retrying` when the ledger is closed.

    `dead_lettered` and `retrying` are those of the agent that writes the store; other agents account for themselves.
    """

    stored: int
    duplicates: int
    dead_lettered: int
    invoices: int
    stuck: int
    retrying: int = 0


@dataclass(frozen=True, slots=True)
class StageActivity:
    """What one stage did within a window. `value` is the summed invoice_amount per currency, exact, as text."""

    stage: str
    events: int
    value: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StageStanding:
    """Invoices whose newest state is in one stage. Values sum their invoice_amount per currency, exact, as text."""

    stage: str
    invoices: int
    stuck: int
    unvalued: int  # invoices without an amount
    value: Mapping[str, str]
    stuck_value: Mapping[str, str]


class RatePoint(NamedTuple):
    """Events of one stage accepted in [start_us, start_us + bucket)."""

    stage: str
    start_us: int
    events: int


@dataclass(frozen=True, slots=True)
class Visibility:
    """Acceptance to stored, in milliseconds, over a window; None without events."""

    events: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that the store knows of one invoice."""

    invoice: InvoiceRow | None
    events: Sequence[EventRow] = ()
    duplicates: Sequence[DuplicateRow] = ()
    alerts: Sequence[AlertRow] = ()
    dead_letters: Sequence[DeadLetterRow] = field(default=())
    retrying: Sequence[RetryRow] = field(default=())


EventKey = tuple[str, str]
"""(invoice_id, event_id)."""


@dataclass(frozen=True, slots=True)
class Fate:
    """All that the store knows of one accepted record. With `duplicate`, `event` is the row of the event that was
    stored first, from other coordinates; alone, it is the record's own. Dead letters and retries are by agent.
    """

    event: EventRow | None = None
    duplicate: DuplicateRow | None = None
    dead_letters: Sequence[DeadLetterRow] = ()
    retrying: Sequence[RetryRow] = ()


class StoreReader(Protocol):
    """Queries of console, command line and export. Blocking; any thread may call; sees only committed rows; never
    blocks a writer. A store that nobody has created yet reads as empty, and is found once it appears.
    """

    def exists(self) -> bool:
        """Whether a writer has created the store."""

    def counts(self) -> StoreCounts:
        """Totals over the whole store."""

    def activity(self, since_us: int, until_us: int) -> Sequence[StageActivity]:
        """Per stage, by acceptance time, since inclusive, until exclusive; stages without events are absent."""

    def standing(self) -> Sequence[StageStanding]:
        """Per stage, all invoices by their newest state; stages without invoices are absent."""

    def rates(self, since_us: int, until_us: int, bucket_us: int) -> Sequence[RatePoint]:
        """Per stage and bucket, by acceptance time; buckets start at multiples of `bucket_us`; empty ones absent."""

    def newest_stored_us(self) -> int | None:
        """When the newest event row became durable; None for an empty store. Readers tell silence from news by it."""

    def stored_since(self, sequence: int, limit: int) -> Sequence[tuple[int, int, int]]:
        """(sequence, accepted_us, stored_us) of events stored after `sequence`; it grows strictly, in commit order."""

    def visibility(self, since_us: int, until_us: int) -> Visibility:
        """Percentiles (nearest rank) over events accepted in the window."""

    def timeline(self, invoice_id: str) -> Timeline:
        """Events in business order (occurred, then offset)."""

    def stuck(self, limit: int | None = None) -> Sequence[InvoiceRow]:
        """Invoices whose newest state is stuck, longest first."""

    def dead_letters(self, limit: int | None = None) -> Sequence[DeadLetterRow]:
        """Newest first."""

    def retrying(self, limit: int | None = None) -> Sequence[RetryRow]:
        """What waits in lanes, the next due first."""

    def fate(self, at: Coordinates) -> Fate:
        """What became of the record at these coordinates; empty when the store has not heard of it."""

    def find(self, keys: Collection[EventKey]) -> Mapping[EventKey, Coordinates]:
        """Where each event that is stored was accepted; those not stored are absent."""

    def ledger(self, agent: str, since_us: int, until_us: int) -> Sequence[Span]:
        """The agent's account of what was accepted in minutes from `since_us` to before `until_us`, by topic,
        partition and offset.
        """

    def ledger_positions(self, agent: str) -> Offsets:
        """The offset after the last one that the agent accounts for, by (topic, partition)."""

    def tally(self, spans: Sequence[Span], *, valued: bool = True) -> Sequence[Tally]:
        """What rows there are for each span, counted anew: independent of the ledger. Same order, one snapshot.

        Not `valued`: counted only, with no amounts, at a small part of the cost.

        Of agents without rows of their own (the tracker), only dead letters and retries can be counted.
        """

    def held(self, agent: str, topic: str, partition: int, first_offset: int, next_offset: int) -> Collection[int]:
        """Offsets in the stretch for which the agent has a row of any kind."""

    def rows_outside_ledger(self, agent: str) -> Sequence[Coordinates]:
        """Rows of records that no span of the agent accounts for (a ledger range that was never written), at most
        1,000.
        """

    def events(self) -> Iterator[EventRow]:
        """Every stored event, by invoice id, then business order. One consistent snapshot."""

    def invoices(self) -> Iterator[InvoiceRow]:
        """The newest state of every invoice, by invoice id. One consistent snapshot."""

    def close(self) -> None:
        """Release files and connections."""
