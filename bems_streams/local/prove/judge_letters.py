"""Dead letters against the log: each keeps the original bytes; every bad record has one; no lane holds anything back.

Not here: what the store says of them (judge_rows.py).
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from bems_streams.domain.failures import FAILURES, Failure, Lane
from bems_streams.flows.envelope import Passage, disclose
from bems_streams.local.prove.evidence import SINK, TRACKER, Evidence, Findings
from bems_streams.ports import Coordinates, Extent, Place, RawRecord


class Letter(NamedTuple):
    """One record of a dead-letter topic. `original` stands at the coordinates it was accepted at."""

    at: Coordinates
    original: RawRecord
    passage: Passage


@dataclass
class Letters:
    """All dead letters of all agents, by the coordinates of the original."""

    findings: Findings
    by_agent: dict[str, dict[Coordinates, list[Letter]]] = field(default_factory=dict)
    _redriven: dict[str, dict[Coordinates, int]] = field(default_factory=dict)
    _met: set[Coordinates] = field(default_factory=set)
    count: int = 0

    @classmethod
    def read(cls, evidence: Evidence, findings: Findings) -> "Letters":
        """From the topics themselves."""
        letters = cls(findings)
        for agent in evidence.catalogue.agents:
            topics = [evidence.catalogue.dead_letter_topic(topic, agent) for topic in evidence.catalogue.reads(agent)]
            found: defaultdict[Coordinates, list[Letter]] = defaultdict(list)
            for letter in letters._read(evidence, topics):
                found[letter.original.at].append(letter)
                letters.count += 1
            letters.by_agent[agent] = dict(found)
            again = letters._redriven[agent] = {}
            for letter in letters._read(evidence, [evidence.catalogue.redrive_topic(agent)]):
                at = letter.original.at
                again[at] = max(again.get(at, 0), letter.passage.redrives)
        return letters

    def _read(self, evidence: Evidence, topics: list[str]) -> list[Letter]:
        places = [place for topic in topics for place in evidence.places(topic)]
        letters = []
        for record in evidence.log.read(evidence.log.extents(places)):
            disclosed = disclose(record)
            if isinstance(disclosed, Failure):
                self.findings.add("G9", f"the record does not say where it came from: {disclosed.reason}", record.at)
            else:
                letters.append(Letter(record.at, *disclosed))
        return letters

    def is_dead(self, agent: str, at: Coordinates) -> bool:
        """Whether the agent gave the record up for good, after whatever was redriven of it."""
        found = self.by_agent[agent].get(at)
        return found is not None and max(one.passage.redrives for one in found) >= self._redriven[agent].get(at, 0)

    def is_poison(self, agent: str, at: Coordinates) -> bool:
        """Whether it was given up because of what it is, rather than because of the store."""
        return any(FAILURES[one.passage.code].lane is Lane.DEAD_LETTER for one in self.by_agent[agent].get(at, ()))

    def compare(self, record: RawRecord, *, is_event: bool) -> None:
        """A record of a stage topic against the dead letters that say they came from it."""
        for agent in (TRACKER, SINK):
            found = self.by_agent[agent].get(record.at, ())
            for letter in found:
                self._compare(letter, record)
            if not found and not is_event:
                self.findings.add("G9", f"no event, but the {agent} has no dead letter of it", record.at)
        self._met.add(record.at)

    def _compare(self, letter: Letter, record: RawRecord) -> None:
        told, kept = letter.original, record._replace(headers=[*record.headers])
        told = told._replace(headers=[*told.headers])
        wrong = [name for name in RawRecord._fields if getattr(told, name) != getattr(kept, name)]
        if wrong:
            where = f"{letter.at.topic}/{letter.at.partition}/{letter.at.offset}"
            self.findings.add(
                "G9", f"the dead letter at {where} differs from the record in {', '.join(wrong)}", record.at
            )

    def compare_rest(self, evidence: Evidence) -> None:
        """Those from other topics, and those whose record is nowhere."""
        for agent, letters in self.by_agent.items():
            for at, found in letters.items():
                if at in self._met:
                    continue
                record = next(
                    iter(evidence.log.read({(at.topic, at.partition): Extent(at.offset, at.offset + 1)})), None
                )
                if record is None:
                    self.findings.add("G9", f"the {agent} has a dead letter of a record that is in no log", at)
                    continue
                for letter in found:
                    self._compare(letter, record)


def judge_lanes(evidence: Evidence, findings: Findings) -> None:
    """Nothing is left in a lane beyond what its agent has handled."""
    for agent in evidence.catalogue.agents:
        places: list[Place] = [place for topic in evidence.catalogue.lanes(agent) for place in evidence.places(topic)]
        extents = evidence.log.extents(places)
        committed = evidence.groups[agent].committed(places)
        left = {
            place: Extent(max(extent.start, committed.get(place, 0)), extent.end)
            for place, extent in extents.items()
            if committed.get(place, 0) < extent.end
        }
        for record in evidence.log.read(left) if left else ():
            disclosed = disclose(record)
            at = record.at if isinstance(disclosed, Failure) else disclosed[0].at
            findings.add("G8", f"left in the lane {record.at.topic}, where the {agent} has not handled it", at)
