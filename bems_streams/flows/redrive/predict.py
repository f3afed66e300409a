"""What today's code of an agent does with a record: its own decision, asked without anything being sent or written.

Not here: which records are asked about (plan.py), the state of invoices (states.py).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn, Protocol

from prometheus_client import CollectorRegistry

from bems_streams.domain.codec import decode_tracked
from bems_streams.domain.failures import Failure
from bems_streams.domain.fold import digest_of
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.decode import decode_event
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.redrive.states import States
from bems_streams.flows.redrive.terms import Verdict
from bems_streams.flows.store import AGENT as SINK
from bems_streams.flows.store import SinkParts, Store
from bems_streams.flows.track import Track
from bems_streams.flows.tracking import UNUSABLE, TrackingParts
from bems_streams.metrics import AgentMetrics, TableMetrics
from bems_streams.ports import (
    Clock,
    EventKey,
    LogReader,
    Offsets,
    OutRecord,
    RawRecord,
    RecordOutcome,
    StoreBatch,
    StoreReader,
)
from bems_streams.topics import Catalogue


class AgentSide(Protocol):
    """One agent, as far as a redrive asks about it. Blocking; raises what log and store raise."""

    def prepare(self, keys: Mapping[int, Collection[bytes]]) -> None:
        """Learn how these records' invoices, by partition number, stand now."""

    def predict(self, records: Sequence[RawRecord]) -> Sequence[Verdict]:
        """What becomes of records that come from the redrive topic in this order, after all asked about before."""

    def outcome(self, record: RawRecord, predicted: Verdict) -> Verdict:
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

    def outcome(self, record: RawRecord, predicted: Verdict) -> Verdict:
        """What the store has at these coordinates. Of status, alerts and accounts it keeps none: handled is stored."""
        if record.at.topic not in self._stage_of:
            return Verdict.STORED
        fate = self._reader.fate(record.at)
        if fate.duplicate is not None:
            return Verdict.DUPLICATE
        return Verdict.MISSING if fate.event is None else Verdict.STORED


class TrackerSide:
    """AgentSide of the tracker."""

    def __init__(self, track: Track, stage_of: Mapping[str, str], states: States) -> None:
        self._track = track
        self._stage_of = stage_of
        self._states = states

    def prepare(self, keys: Mapping[int, Collection[bytes]]) -> None:
        """As the changelog has them now."""
        self._states.learn(keys)

    def predict(self, records: Sequence[RawRecord]) -> Sequence[Verdict]:
        """By the tracker's decision, record by record, each on the states that the one before left."""
        verdicts = []
        for record in records:
            tracked = self._track.decide([record])
            for number, table in tracked.table.items():
                self._states.apply(number, table, 0)
            new = RecordOutcome.STORED in tracked.handled.values()
            handled = Verdict.STORED if new else Verdict.DUPLICATE
            verdicts.append(Verdict.STILL_FAILING if tracked.asides else handled)
        return verdicts

    def outcome(self, record: RawRecord, predicted: Verdict) -> Verdict:
        """Whether the event is in its invoice's state. State does not tell which copy of an event came first: what was
        predicted stands then. An event that only newer code than this can read counts as handled.
        """
        handled = Verdict.STORED if predicted is Verdict.STILL_FAILING else predicted
        event = decode_event(record, self._stage_of[record.at.topic])
        if isinstance(event, Failure):
            return handled
        stored = self._states.real(record.at.partition, event.invoice_id.encode())
        try:
            seen = [] if stored is None else decode_tracked(stored).state.seen
        except UNUSABLE:
            return Verdict.MISSING
        return handled if digest_of(event.event_id) in seen else Verdict.MISSING


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
    return TrackerSide(Track(tracker), stage_of, states)
