"""Which dead letters are sent, in which order, and what today's code is expected to do with each: before anything is.

Memory holds a few words per dead letter, never their bytes. Not here: predicting (predict.py), sending (run.py).
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from bems_streams.flows.dead_letters import DeadLetter, DeadLetters, Since
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.redrive.audit import Run
from bems_streams.flows.redrive.journal import Journal, as_read
from bems_streams.flows.redrive.predict import AgentSide
from bems_streams.flows.redrive.terms import SENT, Terms, Verdict
from bems_streams.ports import Coordinates, Extent, Place

SLICE_RECORDS: Final = 1_000
"""How many dead letters are in memory at a time; one may have two megabytes."""

Seen = Callable[[str, int], None]
"""(what is being done, how many more have been done)."""
Picks = Mapping[Place, Sequence[int]]


@dataclass(slots=True)
class Plan:
    """By place in sending order and offset: what becomes of each dead letter that is meant. `beyond_limit`: how many
    more there are.
    """

    verdicts: dict[Place, dict[int, Verdict]] = field(default_factory=dict)
    beyond_limit: int = 0

    @property
    def counts(self) -> Counter[Verdict]:
        """Dead letters by verdict."""
        return Counter(verdict for place in self.verdicts.values() for verdict in place.values())

    @property
    def to_send(self) -> int:
        """How many."""
        return sum(self.counts[verdict] for verdict in SENT)


@dataclass(frozen=True)
class Planner:
    """What a plan is made from. Blocking; raises what the log and the store raise."""

    letters: DeadLetters
    since: Since
    side: AgentSide
    lanes: Lanes

    def plan(self, run: Run, spans: Mapping[Place, Extent], journal: Journal, seen: Seen) -> Plan:
        """Each record once: its newest dead letter counts, and not at all what the run has sent already."""
        terms = run.terms
        keys: dict[int, set[bytes]] = {}
        sent = set()
        for before in journal.sent():
            sent.add(before.original.at)
            keys.setdefault(before.original.at.partition, set()).add(before.original.key or b"")
        picks = self._newest(terms, spans, sent, keys, seen)
        self.side.prepare(keys)
        self._rehearse(journal)
        plan, judged = Plan(), 0
        room = None if terms.limit is None else terms.limit - len(sent)
        for part in slices(picks, SLICE_RECORDS):
            batch = self._within(terms, part, room)
            for letter, verdict in batch:
                plan.verdicts.setdefault((letter.at.topic, letter.at.partition), {})[letter.at.offset] = verdict
            judged += len(batch)
            seen("predicting", len(batch))
            if room is not None:
                room -= sum(verdict in SENT for _, verdict in batch)
                if room <= 0:
                    break
        plan.beyond_limit = 0 if room is None else sum(map(len, picks.values())) - judged
        return plan

    def judge(self, letter: DeadLetter, max_redrives: int) -> Verdict:
        """What would become of this one dead letter alone."""
        refused = self._refusal(letter, max_redrives)
        if refused is not None:
            return refused
        self.side.prepare({letter.at.partition: {letter.record.key or b""}})
        (predicted,) = self.side.predict([as_read(letter, self.lanes.redrive_topic)])
        return predicted

    def _rehearse(self, journal: Journal) -> None:
        """What is under way already decides, too, what comes of the rest."""
        sent = journal.sent()
        while batch := [before.raw for before in islice(sent, SLICE_RECORDS)]:
            self.side.predict(batch)

    def _newest(
        self,
        terms: Terms,
        spans: Mapping[Place, Extent],
        sent: Collection[Coordinates],
        keys: dict[int, set[bytes]],
        seen: Seen,
    ) -> dict[Place, list[int]]:
        """Offsets by place; adds to `keys` by partition number. All dead letters of a record are on one partition."""
        newest: dict[Place, dict[Coordinates, tuple[int, bytes]]] = {place: {} for place in spans}
        for letter in self.letters.read(spans):
            seen("reading", 1)
            if not isinstance(letter, DeadLetter) or letter.record.at in sent:
                continue
            found = newest[letter.at.topic, letter.at.partition]
            found.pop(letter.record.at, None)
            if terms.filter.takes(letter):
                found[letter.record.at] = letter.at.offset, letter.record.key or b""
        for (_, number), found in newest.items():
            keys.setdefault(number, set()).update(key for _, key in found.values())
        return {place: sorted(offset for offset, _ in found.values()) for place, found in newest.items()}

    def _within(self, terms: Terms, part: Picks, room: int | None) -> list[tuple[DeadLetter, Verdict]]:
        """Verdicts on one slice, cut where the limit is reached."""
        judged: list[tuple[DeadLetter, Verdict | None]] = []
        for letter in read_slice(self.letters, part):
            refused = self._refusal(letter, terms.max_redrives)
            if refused is None and room is not None:
                if room <= 0:
                    break
                room -= 1
            judged.append((letter, refused))
        topic = self.lanes.redrive_topic
        predicted = iter(self.side.predict([as_read(letter, topic) for letter, refused in judged if refused is None]))
        return [(letter, next(predicted) if refused is None else refused) for letter, refused in judged]

    def _refusal(self, letter: DeadLetter, max_redrives: int) -> Verdict | None:
        """Why a letter is not to be sent."""
        if self.lanes.arrival(as_read(letter, self.lanes.redrive_topic)).failure is not None:
            return Verdict.UNSENDABLE
        if self.since.handled(letter):
            return Verdict.ALREADY_HANDLED
        return Verdict.GUARDED if letter.passage.redrives >= max_redrives else None


def spans_of(run: Run, letters: DeadLetters) -> Mapping[Place, Extent]:
    """What is left of a run: from where it stopped to where everything ended when it began."""
    kept = letters.extents(run.terms.agent)
    return {
        place: Extent(max(extent.start, run.positions.get(place, 0)), run.ends.get(place, 0))
        for place, extent in kept.items()
    }


def slices(picks: Picks, size: int) -> Iterator[dict[Place, list[int]]]:
    """Cut into parts of at most `size` offsets, in the order of places, then offsets: the order of sending."""
    flat = ((place, offset) for place, offsets in picks.items() for offset in offsets)
    while part := list(islice(flat, size)):
        cut: dict[Place, list[int]] = {}
        for place, offset in part:
            cut.setdefault(place, []).append(offset)
        yield cut


def read_slice(letters: DeadLetters, part: Picks) -> list[DeadLetter]:
    """The dead letters at these offsets, those that are still kept, in the order of places, then offsets.

    Two records of one invoice that died on different topics are sent in this order, whatever order the log is read in.
    """
    spans = {place: Extent(offsets[0], offsets[-1] + 1) for place, offsets in part.items()}
    wanted = {place: frozenset(offsets) for place, offsets in part.items()}
    order = {place: rank for rank, place in enumerate(part)}
    found = [
        letter
        for letter in letters.read(spans)
        if isinstance(letter, DeadLetter) and letter.at.offset in wanted[letter.at.topic, letter.at.partition]
    ]
    return sorted(found, key=lambda letter: (order[letter.at.topic, letter.at.partition], letter.at.offset))
