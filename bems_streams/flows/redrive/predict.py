"""What today's code of an agent does with a record: its own decision, asked without anything being sent or written.

Not here: which records are asked about (plan.py), the state of invoices (states.py).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NoReturn, Protocol

from prometheus_client import CollectorRegistry

from bems_streams.flows.accounts import account_of
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.redrive.states import States
from bems_streams.flows.redrive.terms import Verdict
from bems_streams.flows.store import AGENT as SINK
from bems_streams.flows.store import SinkParts, Store
from bems_streams.flows.track import Track
from bems_streams.flows.tracking import AGENT as TRACKER
from bems_streams.flows.tracking import TrackingParts
from bems_streams.metrics import AgentMetrics, TableMetrics
from bems_streams.ports import (
    Clock,
    Coordinates,
    EventKey,
    Extent,
    LogReader,
    Note,
    Offsets,
    OutRecord,
    RawRecord,
    RecordOutcome,
    StoreBatch,
    StoreReader,
)
from bems_streams.topics import Catalogue

_HANDLED: Final = {RecordOutcome.STORED: Verdict.STORED, RecordOutcome.DUPLICATE: Verdict.DUPLICATE}


class AgentSide(Protocol):
    """One agent, as far as a redrive asks about it. Blocking; raises what log and store raise."""

    def prepare(self, keys: Mapping[int, Collection[bytes]]) -> None:
        """Learn how these records' invoices, by partition number, stand now."""

    def predict(self, records: Sequence[RawRecord]) -> Sequence[Verdict]:
        """What becomes of records that come from the redrive topic in this order, after all asked about before."""

    def observe(self, ends: Offsets) -> None:
        """Learn what the agent did since the log ended there."""

    def outcome(self, record: RawRecord) -> Verdict:
        """What became of a record, at its original coordinates, that was handled and did not fail again."""


class Untouched:
    """Stands for every port that a decision must not use: a prediction that sent or wrote anything would end here."""

    async def publish(self, records: Sequence[OutRecord], offsets: Offsets | None = None) -> NoReturn:
        """See Publisher and FencedLog."""
        raise AssertionError("a prediction must not publish")

    async def pause(self, seconds: float) -> NoReturn:
        """See Pause."""
        raise AssertionError("a prediction must not wait")

    def positions(self, number: int) -> NoReturn:
        """See FencedLog."""
        raise AssertionError("a prediction has no positions")

    def write(self, batch: StoreBatch) -> NoReturn:
        """See EventStore."""
        raise AssertionError("a prediction must not write")

    def close(self) -> None:
        """Nothing was opened."""


class SinkSide:
    """AgentSide of the sink. Whether the store itself takes a row, only the store knows: it is taken for granted."""

    def __init__(self, store: Store, stage_of: Mapping[str, str], reader: StoreReader) -> None:
        self._store = store
        self._stage_of = stage_of
        self._reader = reader
        self._coming: set[EventKey] = set()

    def prepare(self, keys: Mapping[int, Collection[bytes]]) -> None:
        """The store is asked event by event."""

    def predict(self, records: Sequence[RawRecord]) -> Sequence[Verdict]:
        """By the sink's decision, then by what is stored, then by what this very run brings earlier."""
        decisions = [self._store.decide([record]) for record in records]
        rows = [next(iter((*decision.events, *decision.late_events)), None) for decision in decisions]
        keys = [None if row is None else (row.invoice_id, row.event_id) for row in rows]
        stored = self._reader.find({key for key in keys if key is not None})
        verdicts = []
        for decision, key in zip(decisions, keys, strict=True):
            if decision.asides:
                verdicts.append(Verdict.STILL_FAILING)
            elif key is not None and (key in stored or key in self._coming):
                verdicts.append(Verdict.DUPLICATE)
            else:
                verdicts.append(Verdict.STORED)
                if key is not None:
                    self._coming.add(key)
        return verdicts

    def observe(self, ends: Offsets) -> None:
        """The store is asked record by record."""

    def outcome(self, record: RawRecord) -> Verdict:
        """What the store has at these coordinates. Of status, alerts and accounts it keeps none: handled is stored."""
        if record.at.topic not in self._stage_of:
            return Verdict.STORED
        fate = self._reader.fate(record.at)
        if fate.duplicate is not None:
            return Verdict.DUPLICATE
        return Verdict.MISSING if fate.event is None else Verdict.STORED


class TrackerSide:
    """AgentSide of the tracker. What it did it tells the ledger, in the transaction in which it did it."""

    def __init__(self, track: Track, states: States, log: LogReader, ledger_topic: str) -> None:
        self._track = track
        self._states = states
        self._log = log
        self._ledger_topic = ledger_topic
        self._noted: dict[Coordinates, RecordOutcome] = {}

    def prepare(self, keys: Mapping[int, Collection[bytes]]) -> None:
        """As the changelog has them now."""
        self._states.learn(keys)

    def predict(self, records: Sequence[RawRecord]) -> Sequence[Verdict]:
        """By the tracker's decision, record by record, each on the states that the one before left."""
        verdicts = []
        for record in records:
            tracked = self._track.decide([[record]])
            for number, table in tracked.table.items():
                self._states.apply(number, table, 0)
            new = any(outcome == "folded" and events for (_, outcome), events in tracked.outcomes.items())
            handled = Verdict.STORED if new else Verdict.DUPLICATE
            verdicts.append(Verdict.STILL_FAILING if tracked.asides else handled)
        return verdicts

    def observe(self, ends: Offsets) -> None:
        """Its notes on records that came back from a lane: of each record, the first."""
        starts = {place: end for place, end in ends.items() if place[0] == self._ledger_topic}
        extents = self._log.extents([*starts])
        spans = {place: Extent(start, extents[place].end) for place, start in starts.items()}
        there = {place: span for place, span in spans.items() if span.start < span.end}
        for record in self._log.read(there) if there else ():
            for note in _notes(record.value or b""):
                if note.outcome in _HANDLED:
                    self._noted.setdefault(note.at, note.outcome)

    def outcome(self, record: RawRecord) -> Verdict:
        """What it noted."""
        noted = self._noted.get(record.at)
        return Verdict.MISSING if noted is None else _HANDLED[noted]


def _notes(raw: bytes) -> Sequence[Note]:
    """Of the tracker's account; none in what is no account: then the record in question counts as missing."""
    try:
        account = account_of(raw)
    except (ValueError, TypeError):
        return ()
    return account.notes if account.agent == TRACKER else ()


def agent_side(
    catalogue: Catalogue, lanes: Lanes, clock: Clock, log: LogReader, reader: StoreReader, time_scale: float
) -> AgentSide:
    """The side of the agent whose lanes these are, from the decision code that this agent runs."""
    stage_of = {topic: stage for stage, topic in catalogue.stage_topics.items()}
    registry, untouched = CollectorRegistry(), Untouched()
    metrics = AgentMetrics(registry, lanes.agent)
    if lanes.agent == SINK:
        sink = SinkParts(
            stage_of=stage_of,
            status_topic=catalogue.status_topic,
            alerts_topic=catalogue.alerts_topic,
            ledger_topic=catalogue.ledger_topic,
            lanes=lanes,
            clock=clock,
            publisher=untouched,
            store=untouched,
            breaker=Breaker(clock, metrics, untouched.pause),
            metrics=metrics,
        )
        return SinkSide(Store(sink), stage_of, reader)
    changelog = catalogue.changelog_topic(lanes.agent)
    states = States(log, changelog)
    tracker = TrackingParts(
        journey=catalogue.journey(time_scale),
        stage_of=stage_of,
        lanes=lanes,
        status_topic=catalogue.status_topic,
        alerts_topic=catalogue.alerts_topic,
        ledger_topic=catalogue.ledger_topic,
        changelog=changelog,
        cell=lanes.cell,
        region=lanes.region,
        clock=clock,
        table=states,
        log=untouched,
        metrics=metrics,
        table_metrics=TableMetrics(registry),
    )
    return TrackerSide(Track(tracker), states, log, catalogue.ledger_topic)
