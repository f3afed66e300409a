"""What flows ask of the outside, as Protocols and plain values. Adapters fulfil these; tests fulfil them in memory.

Times are integers in microseconds since 1970 UTC (`_us`); amounts are decimals as text.
Not here: any implementation, any business rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """The wall clock. Injected, so that tests own time."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""


class Coordinates(NamedTuple):
    """Where a record stands in the log: what a receipt names."""

    topic: str
    partition: int
    offset: int


Headers = Sequence[tuple[str, bytes]]


class RawRecord(NamedTuple):
    """One record as read from a topic, undecoded. `accepted_us` is the broker's LogAppendTime."""

    at: Coordinates
    key: bytes | None
    value: bytes | None
    headers: Headers
    accepted_us: int


class OutRecord(NamedTuple):
    """One record to publish. `partition` None means murmur2 of the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Appended(NamedTuple):
    """Proof that a record is durable."""

    at: Coordinates
    accepted_us: int


class NotAppended(NamedTuple):
    """No proof that a record is durable. It may be in the log all the same: only an idempotent sender may repeat it."""

    reason: str
    retriable: bool


class Appender(Protocol):
    """Appends records one by one, for those who answer for each of them. Never raises for what a broker does."""

    async def append(self, records: Sequence[OutRecord]) -> Sequence[Appended | NotAppended]:
        """Append in order; one outcome per record, same order, once all are known (bounded by a delivery timeout)."""


class Publisher(Protocol):
    """Appends records to topics. Returns only when all of them are durable (acks=all); raises when any may not be."""

    async def publish(self, records: Sequence[OutRecord]) -> Sequence[Appended]:
        """Append in order; one proof per record, same order. PublishFailedError names what was refused."""


class PublishFailedError(Exception):
    """Some records may not be durable. `retriable`: the broker is away or slow, rather than refusing the record."""

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


# --------------------------------------------------------------------------------------------------- event store


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
    """The store's note of a record that it does not hold. Key: its coordinates and the agent.

    The note goes once the record is stored, or found a duplicate, from the same coordinates (replay with mended code),
    and is not taken for one that already is. The dead-letter topic keeps what happened.
    """

    at: Coordinates
    agent: str
    code: str
    reason: str
    accepted_us: int
    stored_us: int
    invoice_id: str | None = None


class DuplicateRow(NamedTuple):
    """A record whose event was stored already from other coordinates. Key: its own coordinates."""

    at: Coordinates
    invoice_id: str
    event_id: str
    accepted_us: int
    stored_us: int


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
    """What one write makes durable, all or nothing."""

    events: Sequence[EventRow] = ()
    dead_letters: Sequence[DeadLetterRow] = ()
    invoices: Sequence[InvoiceRow] = ()
    alerts: Sequence[AlertRow] = ()


class WriteOutcome(StrEnum):
    """What became of one event row. STORED and DUPLICATE each stand for exactly one row more, REPLAYED for none."""

    STORED = "stored"  # new
    REPLAYED = "replayed"  # a record from coordinates already stored, or already noted as a duplicate: nothing changed
    DUPLICATE = "duplicate"  # the same event from other coordinates: noted; the row stored first stays as it is


@dataclass(frozen=True, slots=True)
class WriteResult:
    """One outcome per row of `StoreBatch.events`, same order."""

    outcomes: Sequence[WriteOutcome]


class EventStore(Protocol):
    """Where rows live. Idempotent: writing a batch again changes nothing. Blocking; call it off the event loop.

    Raises StoreUnavailableError when nothing was written and trying again may help.
    """

    def write(self, batch: StoreBatch) -> WriteResult:
        """Write everything in one transaction; durable and visible to readers on return."""

    def close(self) -> None:
        """Release files and connections."""


class StoreUnavailableError(Exception):
    """The store is away, locked or full; nothing of the batch was written. Retriable."""


class StoreUnusableError(Exception):
    """The store cannot serve this program until someone acts: a newer schema, a damaged file, a wrong URL."""


# ------------------------------------------------------------------------------------------------- reading it back


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """Rows in the store. `accepted == stored + duplicates + dead_lettered` when the ledger is closed.

    `dead_lettered` counts records, however many agents gave one up: no record counts twice.
    """

    stored: int
    duplicates: int
    dead_lettered: int
    invoices: int
    stuck: int


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

    def events(self) -> Iterator[EventRow]:
        """Every stored event, by invoice id, then business order. One consistent snapshot."""

    def invoices(self) -> Iterator[InvoiceRow]:
        """The newest state of every invoice, by invoice id. One consistent snapshot."""

    def close(self) -> None:
        """Release files and connections."""
