"""Verifies the ledger: what the broker accepted, what every agent accounts for, and which rows there really are.

It may run at any time beside everything else. The order of questions keeps what is handled meanwhile from looking like
a loss: first the log's ends, then the ledger's positions, then its entries, then the rows; each answer can only be
ahead of the one before. What still looks wrong is asked again before it is said.
Not here: the parts (ledger/), when it is run (cli/ledger.py).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from bems_streams.flows.ledger.coverage import Coverage
from bems_streams.flows.ledger.evidence import Books, Evidence
from bems_streams.flows.ledger.findings import Finding, Grouping, Kind, Reconciliation
from bems_streams.flows.ledger.gaps import examine_gaps
from bems_streams.flows.ledger.sheet import Sheet
from bems_streams.flows.ledger.spans import examine_spans, is_whole
from bems_streams.flows.ledger.tail import examine_ends, examine_overdue, examine_rows, waiting_records
from bems_streams.ports import (
    MINUTE_US,
    STORE_AGENT,
    Clock,
    Coordinates,
    Extent,
    LogReader,
    Offsets,
    Place,
    RecordOutcome,
    Span,
    StoreReader,
    Tally,
)
from bems_streams.topics import Catalogue

HOUR_US: Final = 60 * MINUTE_US
PROMISE_US: Final = 120_000_000
"""What is accepted is handled within this time."""
FIRST_OFFSETS: Final = 10
FOREVER_US: Final = 2**62
ROW_PER_RECORD: Final = frozenset(RecordOutcome)
ROW_WHEN_SET_ASIDE: Final = frozenset({RecordOutcome.DEAD_LETTERED, RecordOutcome.RETRYING})


class Look(StrEnum):
    """What is read from the store, and from the log."""

    COUNTS = "counts"  # how many rows there are; the log as below. Amounts are taken from the ledger
    SUSPICIOUS = "suspicious"  # what the ledger and the rows do not agree on
    DEEP = "deep"  # every record


@dataclass(frozen=True)
class Scope:
    """What is verified: the partitions of stage topics, and each agent that accounts for them."""

    stage_of: Mapping[str, str]
    partitions: int
    books: Sequence[Books]

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Scope":
        """Every agent of the catalogue that reads a stage topic."""
        topics = set(catalogue.stage_topics.values())
        return cls(
            stage_of={topic: stage for stage, topic in catalogue.stage_topics.items()},
            partitions=catalogue.partitions,
            books=[
                Books(agent, ROW_PER_RECORD if agent == STORE_AGENT else ROW_WHEN_SET_ASIDE)
                for agent in catalogue.agents
                if topics & set(catalogue.reads(agent))
            ],
        )

    def only(self, topics: Collection[str], agents: Collection[str]) -> "Scope":
        """The part that these name; what names nothing is not narrowed."""
        return replace(
            self,
            stage_of={topic: stage for topic, stage in self.stage_of.items() if not topics or topic in topics},
            books=[books for books in self.books if not agents or books.agent in agents],
        )

    @property
    def places(self) -> Sequence[Place]:
        """Every partition of every stage topic."""
        return [(topic, number) for topic in self.stage_of for number in range(self.partitions)]


class _Frame(NamedTuple):
    """What the broker says of the time that is verified: the offsets it accepted then."""

    log: Mapping[Place, Extent]
    accepted: Mapping[Place, Extent]
    due: Offsets
    """Where what was accepted before `due_us` ends: handled by now, as promised."""
    due_us: int


class Reconciler:
    """Verifies one cell. Blocking; one call at a time. LogUnavailableError, StoreUnavailableError: nothing is known."""

    def __init__(
        self, log: LogReader, store: StoreReader, clock: Clock, scope: Scope, promise_us: int = PROMISE_US
    ) -> None:
        self._log = log
        self._store = store
        self._clock = clock
        self._scope = scope
        self._promise_us = promise_us
        self._evidence = Evidence(log, store, scope.stage_of)

    def verify(
        self,
        since_us: int = 0,
        until_us: int | None = None,
        *,
        look: Look = Look.SUSPICIOUS,
        by: Grouping = Grouping.PARTITION,
    ) -> Reconciliation:
        """What was accepted in whole minutes from `since_us` on. Without `until_us`: up to now, what waits included."""
        now_us = self._clock.now_us()
        since_us -= since_us % MINUTE_US
        frame = self._frame(since_us, until_us, now_us)
        sheet = Sheet(by)
        slices = list(self._slices(since_us, until_us, now_us))
        pending = {}
        for books in self._scope.books:
            positions = self._store.ledger_positions(books.agent)
            outside = [] if until_us is not None else self._store.rows_outside_ledger(books.agent)
            reached = _reached(positions, outside)
            covered = self._handled(books, frame, slices, look, sheet)
            self._uncovered(books, frame, reached, covered, sheet)
            if until_us is None:
                examine_rows(self._evidence, books, outside, sheet)
                pending[books.agent] = self._tail(books, frame, reached, sheet)
        return Reconciliation(
            verified_us=now_us,
            since_us=since_us,
            until_us=until_us or now_us,
            lines=dict(sheet.lines),
            totals=sheet.totals(log_read=look is Look.DEEP),
            findings=(*sheet.findings.ranges, *sheet.findings.records),
            counts=dict(sheet.findings.counts),
            pending=pending,
            unprovable=sheet.unprovable,
            unsettled=sheet.unsettled,
        )

    def oldest_us(self) -> int:
        """About when the oldest record was accepted that the log still holds; now for an empty log."""
        first = self._evidence.first_records(self._log.extents(self._scope.places), FIRST_OFFSETS)
        return min((records[0].accepted_us for records in first.values()), default=self._clock.now_us())

    def _frame(self, since_us: int, until_us: int | None, now_us: int) -> _Frame:
        places = self._scope.places
        log = self._log.extents(places)
        since = self._log.offsets_at(places, since_us) if since_us else {}
        until = {} if until_us is None else self._log.offsets_at(places, until_us)
        due_us = now_us - self._promise_us
        due = self._log.offsets_at(places, due_us)
        accepted = {
            place: Extent(max(start, since.get(place, start)), min(end, until.get(place, end)))
            for place, (start, end) in log.items()
        }
        return _Frame(log, accepted, {place: min(due[place], accepted[place].end) for place in places}, due_us)

    def _slices(self, since_us: int, until_us: int | None, now_us: int) -> Iterator[tuple[int, int]]:
        """Hours, so that no more of the ledger is in memory; the first has all that is older than the log."""
        end_us = FOREVER_US if until_us is None else until_us
        hour_us = (since_us or self.oldest_us()) // HOUR_US * HOUR_US + HOUR_US
        while hour_us < min(now_us, end_us):
            yield since_us, hour_us
            since_us, hour_us = hour_us, hour_us + HOUR_US
        yield since_us, end_us

    def _handled(
        self,
        books: Books,
        frame: _Frame,
        slices: Sequence[tuple[int, int]],
        look: Look,
        sheet: Sheet,
    ) -> Mapping[Place, Coverage]:
        """Every ledger entry against its rows, and against the log where they differ. Returns what they cover."""
        covered = {place: Coverage() for place in frame.log}
        for since_us, until_us in slices:
            entries = self._store.ledger(books.agent, since_us, until_us)
            spans = [span for span in entries if (span.topic, span.partition) in covered]
            suspects = []
            for span, recount in zip(spans, self._recounts(spans, look), strict=True):
                twice = covered[span.topic, span.partition].add(span.first_offset, span.next_offset)
                if twice is not None:
                    at = (span.topic, span.partition, *twice)
                    sheet.findings.add(Finding(Kind.MISCOUNTED, books.agent, *at, "two ledger entries count these"))
                sheet.count(span, recount if books.row_per_record else _as_told(span))
                if _LOOKS[look](self._evidence, books, span, recount):
                    suspects.append(span)
            examine_spans(self._evidence, books, suspects, sheet)
        return covered

    def _recounts(self, spans: Sequence[Span], look: Look) -> Sequence[Tally]:
        if look is not Look.COUNTS:
            return self._store.tally(spans)
        counted = self._store.tally(spans, valued=False)
        return [replace(tally, value=span.value) for span, tally in zip(spans, counted, strict=True)]

    def _uncovered(
        self, books: Books, frame: _Frame, positions: Offsets, covered: Mapping[Place, Coverage], sheet: Sheet
    ) -> None:
        """Offsets that the agent has passed, and no ledger entry has."""
        gaps = {}
        for place, (start, end) in frame.accepted.items():
            first = covered[place].start
            if first is not None:
                deleted = covered[place].gaps(first, max(first, frame.log[place].start))
                sheet.unprovable += sum(gap.end - gap.start for gap in deleted)
            gaps[place] = list(covered[place].gaps(start, min(end, positions.get(place, start))))
        examine_gaps(self._evidence, books, gaps, sheet)

    def _tail(self, books: Books, frame: _Frame, positions: Offsets, sheet: Sheet) -> int:
        """What waits at the end of each partition, and what stands beyond an end. Returns how many records wait."""
        waiting = waiting_records(self._evidence, frame.log, positions)
        examine_overdue(self._evidence, books, waiting, frame.due, frame.due_us, sheet)
        examine_ends(self._evidence, books, positions, {place: e.end for place, e in frame.log.items()}, sheet)
        return sum(one.number for one in waiting.values())


def _reached(positions: Offsets, outside: Sequence[Coordinates]) -> Offsets:
    """How far an agent has come: its rows show it as well, where ledger entries are lacking at the end."""
    reached = dict(positions)
    for at in outside:
        place = at.topic, at.partition
        reached[place] = max(reached.get(place, 0), at.offset + 1)
    return reached


def _as_told(span: Span) -> Tally:
    """Of an agent whose records have no rows: its word for it, checked against the log."""
    return Tally(span.stored, span.duplicates, span.dead_lettered, span.retrying)


def _disagree(evidence: Evidence, books: Books, span: Span, recount: Tally) -> bool:
    return not books.agree(span, recount) or not is_whole(evidence, span)


_LOOKS: Final[Mapping[Look, Callable[[Evidence, Books, Span, Tally], bool]]] = {
    Look.COUNTS: _disagree,
    Look.SUSPICIOUS: _disagree,
    Look.DEEP: lambda *_: True,
}
