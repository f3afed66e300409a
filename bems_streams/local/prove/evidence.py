"""What the judge is given, what it finds, and what it says: the values of a judgement.

Not here: judging (judge.py), opening broker and store (witnesses.py).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from bems_streams.local.prove.reference import Rules
from bems_streams.ports import (
    Coordinates,
    DeadLetterRow,
    EventKey,
    EventRow,
    GroupOffsets,
    InvoiceRow,
    LogReader,
    Place,
    RetryRow,
    Span,
    Tally,
    Timeline,
)
from bems_streams.topics import Catalogue

MAX_NAMED: Final = 100
"""Findings named one by one, per guarantee; beyond that they are counted only."""
SINK: Final = "sink"
TRACKER: Final = "tracker"


class Witness(Protocol):
    """The questions that are asked of the store; a StoreReader answers them all."""

    def events(self) -> Iterator[EventRow]:
        """See StoreReader."""

    def invoices(self) -> Iterator[InvoiceRow]:
        """See StoreReader."""

    def dead_letters(self, limit: int | None = None) -> Sequence[DeadLetterRow]:
        """See StoreReader."""

    def retrying(self, limit: int | None = None) -> Sequence[RetryRow]:
        """See StoreReader."""

    def held(self, agent: str, topic: str, partition: int, first_offset: int, next_offset: int) -> Collection[int]:
        """See StoreReader."""

    def find(self, keys: Collection[EventKey]) -> Mapping[EventKey, Coordinates]:
        """See StoreReader."""

    def tally(self, spans: Sequence[Span], *, valued: bool = True) -> Sequence[Tally]:
        """See StoreReader."""

    def timeline(self, invoice_id: str) -> Timeline:
        """See StoreReader."""


class Objection(NamedTuple):
    """What somebody else who checked has found: the ledger's own verification."""

    what: str
    receipt: str | None = None
    event_id: str | None = None
    invoice_id: str | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything a judgement rests on. The cell is to be at rest: load ended, all of it handled.

    folder       where the load wrote what was acknowledged
    judged_us    the wall clock when the cell had come to rest
    margin_us    how long after its deadline a stuck invoice may still be without an alert
    groups       of every agent of the catalogue
    verify       the ledger's own verification, where there is one; asked last
    """

    catalogue: Catalogue
    folder: Path
    cell: str
    time_scale: float
    judged_us: int
    margin_us: int
    log: LogReader
    store: Witness
    groups: Mapping[str, GroupOffsets]
    verify: Callable[[], Sequence[Objection]] = lambda: ()

    @property
    def rules(self) -> Rules:
        """What the reference folds by."""
        stages = self.catalogue.journey(self.time_scale).stages
        limits = {stage.name: stage.stuck_after_us for stage in stages if stage.stuck_after_us is not None}
        return Rules([stage.name for stage in stages], limits)

    def places(self, topic: str) -> Sequence[Place]:
        """All partitions of a topic."""
        return [(topic, number) for number in range(self.catalogue.partitions)]

    @property
    def stage_places(self) -> Sequence[Place]:
        """All partitions of all stage topics."""
        return [place for topic in self.catalogue.stage_topics.values() for place in self.places(topic)]


class Finding(NamedTuple):
    """One broken promise, by name."""

    guarantee: str
    what: str
    receipt: str | None = None
    event_id: str | None = None
    invoice_id: str | None = None


class Findings:
    """Collects findings; all are counted, the first of each guarantee are named."""

    def __init__(self, cell: str) -> None:
        self._cell = cell
        self.counts: Counter[str] = Counter()
        self.named: list[Finding] = []

    def add(
        self,
        guarantee: str,
        what: str,
        at: Coordinates | None = None,
        event_id: str | None = None,
        invoice_id: str | None = None,
    ) -> None:
        """Note one."""
        receipt = None if at is None else f"{self._cell}/{at.topic}/{at.partition}/{at.offset}"
        self.note(Finding(guarantee, what, receipt, event_id, invoice_id))

    def note(self, finding: Finding) -> None:
        """Note one that is complete."""
        self.counts[finding.guarantee] += 1
        if self.counts[finding.guarantee] <= MAX_NAMED:
            self.named.append(finding)


@dataclass(slots=True)
class Totals:
    """Records of the stage topics by what the store holds of them: accepted is the sum of the rest. Values by currency,
    exact, as text: of all accepted events that decode, and of all rows.
    """

    acknowledged: int = 0
    accepted: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_lettered: int = 0
    retrying: int = 0
    missing: int = 0
    value_accepted: dict[str, str] = field(default_factory=dict)
    value_stored: dict[str, str] = field(default_factory=dict)
    invoices: int = 0
    alerts: int = 0
    dead_letters_read: int = 0


@dataclass(frozen=True)
class Verdict:
    """`findings` are the named ones; `broken` counts all of them by guarantee. `missing` names lost records."""

    totals: Totals
    findings: Sequence[Finding]
    broken: Mapping[str, int]

    @property
    def closed(self) -> bool:
        """Every promise that can be judged at the end was kept."""
        return not self.broken


Progress = Callable[[str, int, int], None]
"""(what is being checked, done, of how much)"""
