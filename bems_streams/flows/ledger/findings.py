"""What a verification of the ledger says: what is wrong, by name, the counts by place, and the control totals.

Not here: finding it out (reconcile.py, spans.py, gaps.py), printing it (cli).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from bems_streams.flows.receipt import receipt_text
from bems_streams.ports import Coordinates

MAX_NAMED: Final = 10_000
"""Findings listed one by one; beyond that they are counted only."""


class Kind(StrEnum):
    """What can be wrong."""

    MISSING = "missing"
    """An accepted record that the agent has no row for, or never accounted for."""
    OVERDUE = "overdue"
    """Accepted longer ago than promised, and not handled yet: late, not lost."""
    UNRECORDED = "unrecorded"
    """A range of offsets that the ledger never got an entry for."""
    MISCOUNTED = "miscounted"
    """A ledger entry whose counts are not those of the rows, or of the log."""
    CHANGED = "changed"
    """A row whose amount is not that of the accepted record; or a ledger entry whose sum is not that of its records."""
    LOG_LOST = "log_lost"
    """The ledger reaches further than the log: the broker no longer has what it acknowledged."""


class Finding(NamedTuple):
    """One thing that is wrong. `first_offset` to before `next_offset`; a single record has its ids when it has any."""

    kind: Kind
    agent: str
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    detail: str
    accepted_us: int | None = None
    invoice_id: str | None = None
    event_id: str | None = None
    records: int = 1

    def receipt(self, cell: str) -> str:
        """`cell/topic/partition/offset`, as given out on acceptance; a range ends with `..` and its last offset."""
        last = "" if self.next_offset - self.first_offset == 1 else f"..{self.next_offset - 1}"
        return receipt_text(cell, Coordinates(self.topic, self.partition, self.first_offset)) + last


class Grouping(StrEnum):
    """What one line of the account stands for."""

    MINUTE = "minute"  # of one partition
    PARTITION = "partition"
    TOPIC = "topic"


class LineKey(NamedTuple):
    """None: all of them together."""

    agent: str
    topic: str
    partition: int | None = None
    minute_us: int | None = None


@dataclass(slots=True)
class Line:
    """Records by outcome. accepted == stored + duplicates + dead_lettered + retrying + missing, when it is closed."""

    accepted: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_lettered: int = 0
    retrying: int = 0
    missing: int = 0


class Total(NamedTuple):
    """Amounts of one currency: as accepted by the ledger, as recounted from rows, and as added up from the log."""

    currency: str
    accepted: Decimal
    stored: Decimal
    in_log: Decimal | None = None
    """Of what was read from the log: everything in deep mode, None otherwise."""

    @property
    def closed(self) -> bool:
        """To the cent, and beyond."""
        return self.accepted == self.stored and self.in_log in {None, self.accepted}


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Broker, ledger and rows compared, for what was accepted from `since_us` to before `until_us`.

    counts      records by kind of finding, all of them; `findings` lists at most MAX_NAMED
    pending     records accepted and not handled yet, by agent; where they are many, offsets
    unprovable  offsets without an entry whose records, if any, retention has deleted: nobody can tell any more
    unsettled   ledger entries that changed whenever they were looked at: for the next look
    """

    verified_us: int
    since_us: int
    until_us: int
    lines: Mapping[LineKey, Line]
    totals: Sequence[Total]
    findings: Sequence[Finding] = ()
    counts: Mapping[tuple[Kind, str, str], int] = field(default_factory=dict)
    """By (kind, agent, topic)."""
    pending: Mapping[str, int] = field(default_factory=dict)
    unprovable: int = 0
    unsettled: int = 0

    @property
    def closed(self) -> bool:
        """Nothing is wrong, and every currency adds up. What is still being handled in time is not wrong."""
        return not self.counts and all(total.closed for total in self.totals)

    def count(self, kind: Kind, agent: str | None = None, topic: str | None = None) -> int:
        """Records of this kind of finding."""
        return sum(n for (k, a, t), n in self.counts.items() if k is kind and agent in {None, a} and topic in {None, t})

    @property
    def waiting(self) -> bool:
        """Whether a later look may say more: something is still being handled."""
        return self.unsettled > 0 or any(self.pending.values())


class Findings:
    """Collects findings: all are counted, the first MAX_NAMED records and as many ranges are kept."""

    def __init__(self) -> None:
        self.ranges: list[Finding] = []
        self.records: list[Finding] = []
        self.counts: Counter[tuple[Kind, str, str]] = Counter()

    def add(self, finding: Finding) -> None:
        """Keep or count one."""
        self.counts[finding.kind, finding.agent, finding.topic] += finding.records
        kept = self.records if finding.event_id is not None else self.ranges
        if len(kept) < MAX_NAMED:
            kept.append(finding)
