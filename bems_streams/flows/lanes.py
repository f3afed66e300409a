"""Where a record goes that an agent could not handle: a retry lane, the late lane, or the dead letters.

A lane is a topic of its own per agent and wait, so that within a lane every record waits equally long: none is held
back by another, and the partition it came from goes on. Not here: the form of such records (envelope.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bems_streams.domain.failures import BadEnvelope, Failure, Lane, Problem
from bems_streams.flows.envelope import Passage, disclose, enclose
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import OutRecord, RawRecord
from bems_streams.topics import Catalogue


@dataclass(frozen=True)
class Lanes:
    """The lanes of one agent, from the catalogue. `waits_us[n]` belongs to `retry_topics[n]`."""

    agent: str
    waits_us: Sequence[int]
    retry_topics: Sequence[str]
    late_topic: str | None
    redrive_topic: str
    dead_letter_of: Mapping[str, str]
    cell: str
    region: str

    @classmethod
    def of(cls, catalogue: Catalogue, agent: str, cell: str, region: str) -> "Lanes":
        """LookupError when there is no such agent."""
        return cls(
            agent=agent,
            waits_us=[round(wait.total_seconds() * 1e6) for wait in catalogue.retry_waits(agent)],
            retry_topics=catalogue.retry_topics(agent),
            late_topic=catalogue.late_topic(agent),
            redrive_topic=catalogue.redrive_topic(agent),
            dead_letter_of={topic: catalogue.dead_letter_topic(topic, agent) for topic in catalogue.reads(agent)},
            cell=cell,
            region=region,
        )

    @cached_property
    def waits(self) -> Mapping[str, int]:
        """All topics that the agent reads besides its own, and how long a record waits in each, in microseconds."""
        late = () if self.late_topic is None else (self.late_topic,)
        return {
            **dict(zip(self.retry_topics, self.waits_us, strict=True)),
            **dict.fromkeys((*late, self.redrive_topic), 0),
        }

    def arrival(self, record: RawRecord) -> "Arrival":
        """A record as it was accepted, whether it comes from its topic or from a lane."""
        if record.at.topic not in self.waits:
            return Arrival(record, None)
        disclosed = disclose(record)
        if isinstance(disclosed, Failure):
            return Arrival(record, None, disclosed)
        original, passage = disclosed
        if (stray := self._stray(record, original, passage)) is not None:
            return Arrival(record, None, stray)
        return Arrival(original, passage, late=record.at.topic == self.late_topic)

    def set_aside(self, arrival: "Arrival", failure: Failure, now_us: int) -> "SetAside":
        """Pure. The next lane of its kind, else the dead letters; a redriven record gets one try, by each way."""
        assert failure.lane is not Lane.WAIT, f"{failure.code} is for the agent to wait for: no record moves"
        before = arrival.passage
        attempts = 1 if before is None else before.attempts + 1
        topic, wait_us = self._next(arrival, failure, attempts)
        passage = Passage(
            agent=self.agent,
            code=failure.code,
            reason=failure.reason,
            attempts=attempts,
            redrives=0 if before is None else before.redrives,
            run="" if before is None else before.run,
            first_failed_us=now_us if before is None else before.first_failed_us,
            failed_us=now_us,
            not_before_us=now_us + wait_us,
            cell=self.cell,
            region=self.region,
        )
        dead = topic is None
        out = enclose(arrival.record, passage, topic or self._dead_letters(arrival.record.at.topic))
        return SetAside(arrival, failure, passage, out, dead)

    def _stray(self, record: RawRecord, original: RawRecord, passage: Passage) -> BadEnvelope | None:
        """Why a record in a lane cannot have come there from this agent. Another partition is another worker's."""
        problems = []
        if original.at.topic not in self.dead_letter_of:
            problems.append(
                Problem("", f"{self.agent} does not read {original.at.topic!r}, where it says it came from")
            )
        if original.at.partition != record.at.partition:
            problems.append(Problem("", f"it says partition {original.at.partition}, and is on {record.at.partition}"))
        if passage.agent != self.agent:
            problems.append(Problem("", f"it belongs to agent {passage.agent!r}, and is in a lane of {self.agent}"))
        return BadEnvelope(tuple(problems)) if problems else None

    def _next(self, arrival: "Arrival", failure: Failure, attempts: int) -> tuple[str | None, int]:
        if failure.lane is Lane.LATE and not arrival.late:
            return self.late_topic, 0
        if arrival.passage is not None and arrival.passage.run:
            return None, 0
        if failure.lane is Lane.RETRY and attempts <= len(self.retry_topics):
            return self.retry_topics[attempts - 1], self.waits_us[attempts - 1]
        return None, 0

    def _dead_letters(self, topic: str) -> str:
        """What came by a lane without saying from where goes to the first: only its place in the lane is known."""
        return self.dead_letter_of.get(topic) or next(iter(self.dead_letter_of.values()))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record at its original coordinates. `passage` None: read from its topic itself. `late`: from the late lane."""

    record: RawRecord
    passage: Passage | None
    failure: Failure | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record on its way to a lane or (`dead`) the dead letters."""

    arrival: Arrival
    failure: Failure
    passage: Passage
    out: OutRecord
    dead: bool


def count_asides(metrics: AgentMetrics, stage_of: Mapping[str, str], asides: Sequence[SetAside]) -> None:
    """What went to lanes and dead letters; part of an agent's step 5."""
    for aside in asides:
        stage = stage_of.get(aside.arrival.record.at.topic)
        if aside.dead:
            metrics.dead_letter(aside.failure.code)
        else:
            metrics.retry(aside.failure.code)
        if stage is not None:
            metrics.count(stage, "dead_lettered" if aside.dead else "retrying", 1)
