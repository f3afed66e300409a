"""The ledger: every agent's account, by offsets, of what it did with each accepted record of the stage topics.

An agent's account of one partition is a row of spans without overlap. A record counts once, under what is known of it
now: when a lane brings it to another outcome, its span's counts move with it. Amounts are exact decimals as text.
Not here: comparing it with broker and rows (flows/reconcile.py), any implementation.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from bems_streams.ports.log import Coordinates

MINUTE_US: Final = 60_000_000
STORE_AGENT: Final = "sink"
"""The agent that writes the store: events and duplicates are rows of its own; of others there are only notes."""


class RecordOutcome(StrEnum):
    """What an agent did with a record. STORED is the tracker's "folded" as well."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    DEAD_LETTERED = "dead_lettered"
    RETRYING = "retrying"
    """Not settled yet: the record waits in a lane of the agent."""


class Handled(NamedTuple):
    """Consecutive records of one partition that an agent read from its stage topic, all of them accounted for.

    Offsets that a span covers already count nothing again; those that none covers are counted, holes included.
    """

    agent: str
    topic: str
    partition: int
    first_offset: int
    next_offset: int

    def around(self, left_out: Collection[Coordinates]) -> Iterator["Handled"]:
        """What remains of it without these records."""
        first = self.first_offset
        for offset in sorted(at.offset for at in left_out if at[:2] == (self.topic, self.partition)):
            if first <= offset < self.next_offset:
                if first < offset:
                    yield self._replace(first_offset=first, next_offset=offset)
                first = offset + 1
        if first < self.next_offset:
            yield self._replace(first_offset=first)


class Span(NamedTuple):
    """One agent's account of consecutive offsets of one partition, all accepted within one minute.

    `accepted` counts records; `next_offset - first_offset` may be more where offsets belong to no record (markers of
    transactions). Always accepted == stored + duplicates + dead_lettered + retrying.
    """

    agent: str
    topic: str
    partition: int
    first_offset: int
    next_offset: int
    minute_us: int  # its start
    stored: int
    duplicates: int
    dead_lettered: int
    retrying: int
    value: Mapping[str, str]  # accepted amounts by currency, of records that decode; empty from the tracker

    @property
    def accepted(self) -> int:
        """Records accounted for."""
        return self.stored + self.duplicates + self.dead_lettered + self.retrying


class Note(NamedTuple):
    """What became of one record, when a count does not say enough. Either it is in a span of the same account, or it
    came back from a lane: then the count of its span moves.
    """

    at: Coordinates
    outcome: RecordOutcome
    accepted_us: int
    noted_us: int
    code: str | None = None
    reason: str | None = None
    attempts: int = 0
    not_before_us: int = 0
    invoice_id: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What an agent accounts for in one go; applying it again changes nothing. Spans begin where the ledger ends, or
    were applied before. Notes of dead-lettered and retrying records become rows; others end such rows.
    """

    agent: str
    spans: Sequence[Span] = ()
    notes: Sequence[Note] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows that the store really holds for a stretch of offsets, by outcome, and their amounts by currency, exact."""

    stored: int = 0
    duplicates: int = 0
    dead_lettered: int = 0
    retrying: int = 0
    value: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Records accounted for."""
        return self.stored + self.duplicates + self.dead_lettered + self.retrying
