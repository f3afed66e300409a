"""The catalogue of one cell: topics.yaml, read and checked, and every topic that follows from it.

Not here: how the file is read and checked in detail (catalogue/), or what a cluster really has (topics_plan.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import Field, ValidationError

from bems_streams.catalogue import broker_config, names
from bems_streams.catalogue.document import (
    AgentEntry,
    DerivedEntry,
    Entry,
    Name,
    Partitions,
    PayloadEntry,
    Prose,
    Replicas,
    StageEntry,
    TopicEntry,
)
from bems_streams.catalogue.payloads import PAYLOAD_TYPES, payload_schema
from bems_streams.catalogue.report import CatalogueError, CatalogueProblem, Report
from bems_streams.domain.journey import Journey, Stage, StageCode

__all__ = [
    "PAYLOAD_TYPES",
    "Catalogue",
    "CatalogueError",
    "CatalogueProblem",
    "Overrides",
    "TopicKind",
    "TopicSpec",
    "default_catalogue_path",
    "load_catalogue",
    "payload_schema",
]
FILE_NAME: Final = "topics.yaml"


class TopicKind(StrEnum):
    """What a topic is for."""

    STAGE = "stage"  # raw events, the truth
    STREAM = "stream"  # what agents publish for others
    LANE = "lane"  # records that wait for, or come back for, another try
    DEAD_LETTER = "dead-letter"
    CHANGELOG = "changelog"


class TopicSpec(NamedTuple):
    """One topic as it must be on the cluster."""

    name: str
    kind: TopicKind
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class Overrides:
    """What a cluster may set differently from the file; None keeps the file's value."""

    partitions: int | None = None
    replication: int | None = None
    min_insync_replicas: int | None = None

    def given(self) -> dict[str, int]:
        """Only what is set."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Catalogue(Entry):
    """Everything a cell has in topics. Build it with `load_catalogue`, which also checks what entries say together."""

    partitions: Partitions
    replication: Replicas
    min_insync_replicas: Replicas
    stages: Annotated[tuple[StageEntry, ...], Field(min_length=1)]
    agents: Annotated[dict[Name, AgentEntry], Field(min_length=1)]
    others: dict[Name, Prose]
    topic_entries: Annotated[dict[str, TopicEntry], Field(alias="topics", min_length=1)]
    derived: DerivedEntry
    payloads: dict[Name, PayloadEntry]

    def journey(self, time_scale: float = 1.0) -> Journey:
        """The stages with their stuck limits divided by `time_scale` (never below one microsecond)."""
        return Journey(tuple(_stage(entry, time_scale) for entry in self.stages))

    @cached_property
    def stage_topics(self) -> Mapping[str, str]:
        """Stage name to topic, in journey order."""
        template = self._carrier("event")
        return {stage.name: names.stage_topic(template, stage.name) for stage in self.stages}

    @cached_property
    def _stages_by_topic(self) -> Mapping[str, str]:
        return {topic: stage for stage, topic in self.stage_topics.items()}

    def stage_of(self, topic: str) -> str | None:
        """The stage whose raw events the topic carries."""
        return self._stages_by_topic.get(topic)

    @property
    def status_topic(self) -> str:
        """Where the newest state of every invoice is published."""
        return self._carrier("status")

    @property
    def alerts_topic(self) -> str:
        """Where stuck and cleared invoices are published."""
        return self._carrier("alert")

    @property
    def ledger_topic(self) -> str:
        """Where agents without a store of their own account for what they handled."""
        return self._carrier("account")

    @property
    def audit_topic(self) -> str:
        """Where it is written down who did what by command."""
        return self._carrier("audit")

    def _carrier(self, payload: str) -> str:
        return next(name for name, topic in self.topic_entries.items() if topic.payload == payload)

    @cached_property
    def _declared(self) -> Mapping[str, TopicEntry]:
        """Every topic that the file names, with its entry; one per stage where it says so."""
        topics: dict[str, TopicEntry] = {}
        for name, entry in self.topic_entries.items():
            concrete = self.stage_topics.values() if names.STAGE_PLACE in name else (name,)
            topics.update(dict.fromkeys(concrete, entry))
        return topics

    def reads(self, agent: str) -> tuple[str, ...]:
        """The topics an agent consumes, its lanes aside. LookupError when there is no such agent."""
        self._agent(agent)
        return tuple(name for name, entry in self._declared.items() if agent in entry.consumers)

    def retry_waits(self, agent: str) -> tuple[timedelta, ...]:
        """How long a record waits before each further try; empty: straight to the dead letters."""
        return self._agent(agent).retry

    def retry_topics(self, agent: str) -> tuple[str, ...]:
        """Where `agent` puts what it tries again, one topic per wait; empty when it never retries."""
        waits = range(1, len(self._agent(agent).retry) + 1)
        return tuple(names.retry_topic(self._carrier("event"), agent, wait) for wait in waits)

    def late_topic(self, agent: str) -> str | None:
        """Where `agent` puts what its store takes only by the way for late events; None when it has no such way."""
        return names.late_topic(self._carrier("event"), agent) if self._agent(agent).late else None

    def redrive_topic(self, agent: str) -> str:
        """Where dead letters of `agent` come back to it. LookupError when there is no such agent."""
        self._agent(agent)
        return names.redrive_topic(self._carrier("event"), agent)

    def lanes(self, agent: str) -> tuple[str, ...]:
        """What `agent` reads besides its topics: retry lanes, late lane, redriven dead letters."""
        late = self.late_topic(agent)
        return (*self.retry_topics(agent), *(() if late is None else (late,)), self.redrive_topic(agent))

    def dead_letter_topic(self, topic: str, agent: str) -> str:
        """Where `agent` puts records of `topic` that it cannot handle. LookupError when it does not read it."""
        self._reader(topic, agent)
        return names.dead_letter_topic(topic, agent)

    def changelog_topic(self, agent: str) -> str:
        """Where `agent` keeps its state. LookupError when it has none."""
        if not self._agent(agent).state:
            raise LookupError(f"agent {agent!r} keeps no state: write `state: true` for it in {FILE_NAME}")
        return names.changelog_topic(self._carrier("event"), agent)

    def _agent(self, agent: str) -> AgentEntry:
        if agent not in self.agents:
            raise LookupError(f"no agent {agent!r} in {FILE_NAME}; it has {', '.join(self.agents)}")
        return self.agents[agent]

    def _reader(self, topic: str, agent: str) -> None:
        if topic not in self.reads(agent):
            raise LookupError(f"agent {agent!r} does not read {topic!r}: add it to the consumers in {FILE_NAME}")

    def could_have_made(self, name: str) -> bool:
        """Whether the name has the form of this catalogue's topics: the topic of a stage removed since, for example."""
        return names.could_have_made(name, self.topic_entries)

    def topics(self) -> Sequence[TopicSpec]:
        """Every topic of the cell, what the file names first, then what follows from it."""
        return self._specs

    @cached_property
    def _specs(self) -> tuple[TopicSpec, ...]:
        return (
            *(self._declared_spec(name, entry) for name, entry in self._declared.items()),
            *self._lanes(),
            *(
                self._spec(self.changelog_topic(name), TopicKind.CHANGELOG, self._compacted())
                for name, agent in self.agents.items()
                if agent.state
            ),
        )

    def _declared_spec(self, name: str, entry: TopicEntry) -> TopicSpec:
        kept = self._compacted() if entry.retention is None else broker_config.deleted_after(entry.retention)
        kind = TopicKind.STAGE if entry.payload == "event" else TopicKind.STREAM
        return self._spec(name, kind, {**kept, **broker_config.record_time(entry.timestamp)})

    def _lanes(self) -> Iterator[TopicSpec]:
        """Per agent: its lanes; per topic it reads: its dead letters."""
        retry = broker_config.deleted_after(self.derived.retry_retention)
        dead = broker_config.deleted_after(self.derived.dead_letter_retention)
        size = broker_config.MAX_DEAD_LETTER_BYTES
        for agent in self.agents:
            for topic in self.lanes(agent):
                yield self._spec(topic, TopicKind.LANE, retry, size)
            for topic in self.reads(agent):
                yield self._spec(names.dead_letter_topic(topic, agent), TopicKind.DEAD_LETTER, dead, size)

    def _compacted(self) -> Mapping[str, str]:
        return broker_config.compacted(self.derived.tombstone_retention)

    def _spec(
        self, name: str, kind: TopicKind, kept: Mapping[str, str], size: int = broker_config.MAX_BATCH_BYTES
    ) -> TopicSpec:
        common = broker_config.every_topic(self.min_insync_replicas, size)
        config = {**common, **broker_config.record_time("log-append"), **kept}
        return TopicSpec(name, kind, self.partitions, self.replication, config)


def _stage(entry: StageEntry, time_scale: float) -> Stage:
    if entry.stuck_after is None:
        return Stage(entry.name, StageCode(entry.code))
    limit_us = entry.stuck_after / timedelta(microseconds=1) / time_scale
    return Stage(entry.name, StageCode(entry.code), max(1, round(limit_us)))


def default_catalogue_path() -> Path:
    """./topics.yaml, else the one that came with the package, else the one beside it in a checkout."""
    package = Path(__file__).parent
    places = (Path(FILE_NAME), package / "data" / FILE_NAME, package.parent / FILE_NAME)
    return next((place for place in places if place.is_file()), places[0])


def load_catalogue(path: Path | None = None, overrides: Overrides | None = None) -> Catalogue:
    """Read and check the catalogue. CatalogueError lists all problems with their place in the file."""
    path = path or default_catalogue_path()
    report = Report(path, overrides.given() if overrides else {})
    document = report.read()
    try:
        catalogue = Catalogue.model_validate(document)
    except ValidationError as error:
        report.add_findings(error)
        raise report.error() from error
    if report.problems:
        raise report.error()
    return catalogue
