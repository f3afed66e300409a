"""Dead letters as people ask for them: read from their topics, filtered, counted, and told apart from what was handled
since.

Not here: sending them again (redrive/), how they are written (lanes.py).
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from bems_streams.domain.failures import BadEnvelope
from bems_streams.flows.envelope import Passage, disclose, trace_id
from bems_streams.flows.store import AGENT as STORING_AGENT
from bems_streams.ports import Coordinates, Extent, LogReader, Place, RawRecord, StoreReader
from bems_streams.topics import Catalogue


class DeadLetter(NamedTuple):
    """A record that an agent gave up. `raw`: as it is in the dead-letter topic; `record`: as it was accepted."""

    raw: RawRecord
    record: RawRecord
    passage: Passage
    stage: str | None

    @property
    def at(self) -> Coordinates:
        """Its place in the dead-letter topic."""
        return self.raw.at

    @property
    def agent(self) -> str:
        """Who gave it up."""
        return self.passage.agent

    @property
    def code(self) -> str:
        """Why, in a word of domain/failures.py."""
        return self.passage.code

    @property
    def reason(self) -> str:
        """Why, with every problem."""
        return self.passage.reason

    @property
    def failed_us(self) -> int:
        """When it was given up."""
        return self.passage.failed_us

    @property
    def invoice_id(self) -> str | None:
        """The record's key: the only sign of its invoice that needs no decoding."""
        return None if self.record.key is None else self.record.key.decode("utf-8", "replace")

    @property
    def trace_id(self) -> str | None:
        """What links it to the request that brought it."""
        return trace_id(self.record.headers)


class Unreadable(NamedTuple):
    """Something in a dead-letter topic that no agent wrote: kept as it is, and shown with its bytes."""

    raw: RawRecord
    agent: str
    failure: BadEnvelope

    @property
    def at(self) -> Coordinates:
        """Its place in the dead-letter topic."""
        return self.raw.at

    @property
    def code(self) -> str:
        """Always the same."""
        return self.failure.code

    @property
    def reason(self) -> str:
        """What is wrong with it."""
        return self.failure.reason

    @property
    def failed_us(self) -> int:
        """When it came into the topic."""
        return self.raw.accepted_us

    @property
    def stage(self) -> None:
        """Nobody knows."""
        return None

    @property
    def invoice_id(self) -> None:
        """Nobody knows."""
        return None

    @property
    def trace_id(self) -> str | None:
        """If it has one all the same."""
        return trace_id(self.raw.headers)


Letter = DeadLetter | Unreadable


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; None means any. Times are those of the failure, `since` inclusive."""

    agent: str | None = None
    code: str | None = None
    stage: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    invoice: str | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        asked = ((self.agent, letter.agent), (self.code, letter.code), (self.stage, letter.stage))
        return (
            all(wanted is None or wanted == found for wanted, found in (*asked, (self.invoice, letter.invoice_id)))
            and (self.since_us is None or letter.failed_us >= self.since_us)
            and (self.until_us is None or letter.failed_us < self.until_us)
        )


ANY: Final = Filter()


class DeadLetters:
    """The dead-letter topics of a cell. Blocking; raises LogUnavailableError."""

    def __init__(self, log: LogReader, catalogue: Catalogue) -> None:
        self._log = log
        self._catalogue = catalogue

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, str]]:
        """Dead-letter topic to the agent that writes it and the topic that the agent read, as the catalogue orders."""
        catalogue = self._catalogue
        return {
            catalogue.dead_letter_topic(topic, agent): (agent, topic)
            for agent in catalogue.agents
            for topic in catalogue.reads(agent)
        }

    def places(self, agent: str | None = None, origin: str | None = None) -> list[Place]:
        """Partitions of an agent's dead-letter topics, or of those for one topic that it reads; None: any."""
        return [
            (topic, number)
            for topic, (writer, read) in self.sources.items()
            if agent in (None, writer) and origin in (None, read)
            for number in range(self._catalogue.partitions)
        ]

    def extents(self, agent: str | None = None) -> Mapping[Place, Extent]:
        """What there is now: the high watermarks that a reading ends at, whatever comes in meanwhile."""
        return self._log.extents(self.places(agent))

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[Letter]:
        """Each partition in order. Ends at once where there is nothing."""
        there = {place: span for place, span in spans.items() if span.start < span.end}
        return (self.letter(record) for record in self._log.read(there)) if there else iter(())

    def letter(self, record: RawRecord) -> Letter:
        """A record of a dead-letter topic, understood."""
        disclosed = disclose(record)
        if isinstance(disclosed, BadEnvelope):
            return Unreadable(record, self.sources[record.at.topic][0], disclosed)
        original, passage = disclosed
        return DeadLetter(record, original, passage, self._catalogue.stage_of(original.at.topic))


class Since:
    """What the store knows of dead letters since they died. Blocking."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._accounted: dict[str, Mapping[Place, int]] = {}

    def handled(self, letter: Letter) -> bool:
        """Whether the agent has handled the record after all. False where the store cannot tell."""
        if isinstance(letter, Unreadable) or letter.stage is None:
            return False  # the store keeps coordinates of stage topics only
        at, agent = letter.record.at, letter.agent
        fate = self._reader.fate(at)
        if agent == STORING_AGENT:
            return fate.duplicate is not None or fate.event is not None
        if agent not in self._accounted:
            self._accounted[agent] = self._reader.ledger_positions(agent)
        accounted = self._accounted[agent].get((at.topic, at.partition), 0) > at.offset
        waiting = {row.agent for row in fate.dead_letters} | {row.agent for row in fate.retrying}
        return accounted and agent not in waiting


@dataclass(frozen=True, slots=True)
class Overview:
    """Dead letters by (agent, stage, code), and the newest of them."""

    counts: Mapping[tuple[str, str | None, str], int]
    newest: list[Letter]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


def overview(letters: Iterable[Letter], newest: int, keep: Callable[[Letter], bool]) -> Overview:
    """Count what is kept in one pass; memory for the newest only."""
    counts: Counter[tuple[str, str | None, str]] = Counter()

    def counted() -> Iterator[Letter]:
        for letter in letters:
            if keep(letter):
                counts[letter.agent, letter.stage, letter.code] += 1
                yield letter

    found = heapq.nlargest(newest, counted(), key=lambda letter: (letter.failed_us, letter.at))
    return Overview(counts, found)
