"""A cell in memory whose agents run their real decisions: a log, a store, a sink and a tracker that work while others
sleep.

Not here: any test, crashes of agents (tests/agents).
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from prometheus_client import CollectorRegistry

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.adapters.stores import open_reader, open_store
from bems_streams.domain.event import Event
from bems_streams.domain.failures import Failure, InvalidEvent, Problem
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.dead_letters import DeadLetter, DeadLetters, Filter, Letter, Since
from bems_streams.flows.deliver import deliver
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.redrive.audit import Audit, Run, read_audit
from bems_streams.flows.redrive.journal import Journal
from bems_streams.flows.redrive.plan import Plan, Planner, spans_of
from bems_streams.flows.redrive.predict import agent_side
from bems_streams.flows.redrive.run import Ending, Limits, Parts, Redrive, Standing, ends_now
from bems_streams.flows.redrive.terms import MAX_REDRIVES, Terms
from bems_streams.flows.store import Rows, SinkParts, Store
from bems_streams.flows.track import Track
from bems_streams.flows.tracking import TrackingParts
from bems_streams.metrics import AgentMetrics, TableMetrics
from bems_streams.ports import (
    Appended,
    Coordinates,
    EventStore,
    Extent,
    OutRecord,
    Place,
    PublishFailedError,
    RawRecord,
    StoreBatch,
    StoreReader,
    WriteResult,
)
from bems_streams.topics import Overrides, load_catalogue
from tests.support import REPOSITORY
from tests.unit.flow_kit import SECOND_US, START_US, FrozenClock, MemoryTable, batches

PARTITIONS: Final = 3
CATALOGUE: Final = load_catalogue(REPOSITORY / "topics.yaml", Overrides(partitions=PARTITIONS))
STAGE_OF: Final = {topic: stage for stage, topic in CATALOGUE.stage_topics.items()}
CELL, REGION = "c1", "eu"


class MemoryLog:
    """LogReader and Publisher. Reads the last partition first: who needs another order must see to it."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock
        self.logs: defaultdict[Place, list[RawRecord]] = defaultdict(list)
        self.failures: list[PublishFailedError] = []
        self.before_publish: Callable[[Sequence[OutRecord]], None] = lambda records: None

    def append(self, out: OutRecord) -> Coordinates:
        """One record, at once."""
        key = out.key or b""
        number = sum(key) % PARTITIONS if out.partition is None else out.partition
        log = self.logs[out.topic, number]
        log.append(
            RawRecord(
                Coordinates(out.topic, number, len(log)), out.key, out.value, [*out.headers], self._clock.now_us()
            )
        )
        return log[-1].at

    async def publish(self, records: Sequence[OutRecord]) -> Sequence[Appended]:
        """See Publisher."""
        self.before_publish(records)
        if self.failures:
            raise self.failures.pop(0)
        return [Appended(self.append(record), self._clock.now_us()) for record in records]

    def extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        """See LogReader."""
        return {place: Extent(0, len(self.logs[place])) for place in places}

    def offsets_at(self, places: Sequence[Place], moment_us: int) -> Mapping[Place, int]:
        """See LogReader."""
        raise NotImplementedError

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        """See LogReader."""
        logs = [self.logs[place][span.start : span.end] for place, span in [*spans.items()][::-1]]
        for row in itertools.zip_longest(*logs):
            yield from (record for record in row if record is not None)

    def records(self, topic: str) -> list[RawRecord]:
        """Everything in a topic, partition by partition."""
        return [record for place, log in sorted(self.logs.items()) if place[0] == topic for record in log]


class Agent:
    """Reads its topics and lanes and commits, like a worker. `awake` False: the worker is down."""

    def __init__(self, name: str, clock: FrozenClock, log: MemoryLog) -> None:
        self.lanes = Lanes.of(CATALOGUE, name, CELL, REGION)
        self.clock = clock
        self.log = log
        self.done: Counter[Place] = Counter()
        self.awake = True
        self.most_records = 10**9

    def committed(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """See GroupOffsets."""
        return {place: self.done[place] for place in places if self.done[place]}

    def waiting(self) -> list[RawRecord]:
        """What there is to do now: lanes hold back what is not due."""
        found = []
        for topic in (*CATALOGUE.reads(self.lanes.agent), *CATALOGUE.lanes(self.lanes.agent)):
            for number in range(PARTITIONS):
                for record in self.log.logs[topic, number][self.done[topic, number] :]:
                    if record.accepted_us + self.lanes.waits.get(topic, 0) > self.clock.us:
                        break
                    found.append(record)
        return found[: self.most_records]

    def commit(self, records: Sequence[RawRecord]) -> None:
        """These are handled."""
        for record in records:
            self.done[record.at.topic, record.at.partition] = record.at.offset + 1


class OldStore(Store):
    """The sink's code of yesterday: it did not know the attribute `new`."""

    def _take(self, rows: Rows, read: RawRecord, record: RawRecord, stage: str, stored_us: int) -> None:
        if b'"new"' in (record.value or b""):
            failure = InvalidEvent((Problem("attributes", "new?"),))
            self._set_aside(rows, self._parts.lanes.arrival(read), failure, None, stored_us)
        else:
            super()._take(rows, read, record, stage, stored_us)


class OldTrack(Track):
    """The tracker's code of yesterday."""

    @staticmethod
    def _judge(record: RawRecord, stage: str, now_us: int) -> Event | Failure:
        if b'"new"' in (record.value or b""):
            return InvalidEvent((Problem("attributes", "new?"),))
        return Track._judge(record, stage, now_us)


class Sink(Agent):
    """The sink over a store in memory."""

    def __init__(self, clock: FrozenClock, log: MemoryLog, store: EventStore) -> None:
        super().__init__("sink", clock, log)
        metrics = AgentMetrics(CollectorRegistry(), "sink")
        self.parts = SinkParts(
            stage_of=STAGE_OF,
            status_topic=CATALOGUE.status_topic,
            alerts_topic=CATALOGUE.alerts_topic,
            ledger_topic=CATALOGUE.ledger_topic,
            lanes=self.lanes,
            clock=clock,
            publisher=log,
            store=store,
            breaker=Breaker(clock, metrics, _never),
            metrics=metrics,
        )
        self.code: Callable[[SinkParts], Store] = Store

    async def work(self) -> None:
        """Handle what there is."""
        if self.awake and (given := self.waiting()):
            await deliver(self.code(self.parts), given)
            self.commit(given)


class Tracker(Agent):
    """The tracker over a table in memory. Fulfils FencedLog."""

    def __init__(self, clock: FrozenClock, log: MemoryLog) -> None:
        super().__init__("tracker", clock, log)
        registry = CollectorRegistry()
        self.table = MemoryTable()
        self.parts = TrackingParts(
            journey=CATALOGUE.journey(),
            stage_of=STAGE_OF,
            lanes=self.lanes,
            status_topic=CATALOGUE.status_topic,
            alerts_topic=CATALOGUE.alerts_topic,
            ledger_topic=CATALOGUE.ledger_topic,
            changelog=CATALOGUE.changelog_topic("tracker"),
            cell=CELL,
            region=REGION,
            clock=clock,
            table=self.table,
            log=self,
            metrics=AgentMetrics(registry, "tracker"),
            table_metrics=TableMetrics(registry),
        )
        self.code: Callable[[TrackingParts], Track] = Track

    def positions(self, number: int) -> Mapping[Place, int]:
        """See FencedLog."""
        return {(topic, number): self.done[topic, number] for topic in STAGE_OF}

    async def publish(self, records: Sequence[OutRecord], offsets: Mapping[Place, int]) -> Mapping[Place, int]:
        """See FencedLog."""
        ends = {(at.topic, at.partition): at.offset + 1 for at in map(self.log.append, records)}
        self.done.update({place: offset - self.done[place] for place, offset in offsets.items()})
        return ends

    async def work(self) -> None:
        """Handle what there is."""
        if self.awake and (given := self.waiting()):
            await deliver(self.code(self.parts), batches(given))


class ChoosyStore:
    """A store that refuses what `why` says, and takes the rest."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.why: Callable[[str], Failure | None] = lambda event_id: None

    def write(self, batch: StoreBatch) -> WriteResult:
        """See EventStore."""
        refused = [self.why(row.event_id) for row in batch.events]
        if not any(refused):
            return self._store.write(batch)
        taken = [row for row, why in zip(batch.events, refused, strict=True) if why is None]
        outcomes = iter(self._store.write(replace(batch, events=taken, handled=())).outcomes)
        return WriteResult([why or next(outcomes) for why in refused])

    def close(self) -> None:
        """See EventStore."""
        self._store.close()


@dataclass
class Given:
    """How a test redrives."""

    agent: str = "sink"
    filter: Filter | None = None
    max_redrives: int = MAX_REDRIVES
    limit: int | None = None
    limits: Limits = field(default_factory=lambda: Limits(per_second=1e6, stop_relapse=1.0))
    stopping: Callable[[], bool] = lambda: False


class MemoryCell:
    """All of it. `sleep` is what a redrive waits with: time passes, and the agents work."""

    def __init__(self, store_url: str | None = None) -> None:
        self.clock = FrozenClock(START_US)
        self.log = MemoryLog(self.clock)
        backend = MemoryBackend()
        self.reader: StoreReader = backend.open_reader() if store_url is None else open_reader(store_url)
        self.store = ChoosyStore(backend.open_store() if store_url is None else open_store(store_url))
        self.sink = Sink(self.clock, self.log, self.store)
        self.tracker = Tracker(self.clock, self.log)
        self.letters = DeadLetters(self.log, CATALOGUE)
        self.slept_seconds: list[float] = []
        self.shown: list[Standing] = []
        self._runs = itertools.count(1)

    def accept(self, value: bytes | None, stage: str, key: bytes, number: int, headers: Any = ()) -> Coordinates:
        """An upstream's record becomes durable."""
        return self.log.append(OutRecord(CATALOGUE.stage_topics[stage], key, value, headers, number))

    async def work(self, seconds: float = 0.0) -> None:
        """Both agents handle what there is, until there is nothing more; time passes first."""
        self.clock.us += round(seconds * SECOND_US)
        while any(agent.awake and agent.waiting() for agent in (self.tracker, self.sink)):
            await self.tracker.work()
            await self.sink.work()

    def deploy_old_code(self) -> None:
        """Both agents refuse every event with the attribute `new`."""
        self.sink.code, self.tracker.code = OldStore, OldTrack

    def deploy_new_code(self) -> None:
        """Both agents are as they are today."""
        self.sink.code, self.tracker.code = Store, Track

    async def exhaust_lanes(self) -> None:
        """Let all waits of the schedule pass."""
        for _ in range(4):
            await self.work(700)

    async def sleep(self, seconds: float) -> None:
        """See Parts.sleep."""
        self.slept_seconds.append(seconds)
        self.clock.us += round(seconds * SECOND_US)
        await self.tracker.work()
        await self.sink.work()

    def dead(self, agent: str = "sink") -> list[Letter]:
        """All dead letters of an agent."""
        return [*self.letters.read(self.letters.extents(agent))]

    def dead_at(self, at: Coordinates, agent: str = "sink") -> DeadLetter:
        """The newest dead letter of one record."""
        found = [letter for letter in self.dead(agent) if isinstance(letter, DeadLetter) and letter.record.at == at]
        return found[-1]

    def agent(self, name: str) -> Agent:
        """By name."""
        return self.sink if name == "sink" else self.tracker

    def started(self, given: Given) -> Run:
        """A run that begins now: nothing is published yet."""
        name = f"run-{next(self._runs)}"
        asked = replace(given.filter or Filter(), agent=given.agent)
        ends = ends_now(self.letters, self.log, CATALOGUE, given.agent)
        return Run(name, "jane@ops", Terms(given.agent, asked, given.max_redrives, given.limit), ends)

    def plan(self, run: Run) -> Plan:
        """What would be sent, and what would come of it."""
        lanes = self.agent(run.terms.agent).lanes
        planner = Planner(self.letters, Since(self.reader), self.side(lanes), lanes)
        journal = Journal(self.log, run.name, run.ends_of({lanes.redrive_topic}))
        return planner.plan(run, spans_of(run, self.letters), journal, lambda what, more: None)

    def side(self, lanes: Lanes) -> Any:
        """What predicts."""
        return agent_side(CATALOGUE, lanes, self.clock, self.log, self.reader, 1.0)

    async def redrive(self, given: Given | None = None, run: Run | None = None) -> Ending:
        """Plan and run."""
        given = given or Given()
        run = run or self.started(given)
        lanes = self.agent(run.terms.agent).lanes
        plan = self.plan(run)
        parts = Parts(
            log=self.log,
            letters=self.letters,
            publisher=self.log,
            group=self.agent(run.terms.agent),
            clock=self.clock,
            lanes=lanes,
            side=self.side(lanes),
            audit_topic=CATALOGUE.audit_topic,
            stopping=given.stopping,
            show=self.shown.append,
            sleep=self.sleep,
        )
        return await Redrive(parts, given.limits, run, plan).run()

    def close(self) -> None:
        """Release the store."""
        self.store.close()
        self.reader.close()

    def audit(self) -> Audit:
        """What the audit topic says."""
        return read_audit(self.log, CATALOGUE)

    def sent(self, agent: str = "sink") -> list[RawRecord]:
        """What is in the redrive topic."""
        return self.log.records(CATALOGUE.redrive_topic(agent))


async def _never(seconds: float) -> None:
    raise AssertionError("the store in memory is never away")
