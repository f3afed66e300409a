"""What becomes of a run while it goes on: which of its records the agent has come to, and which of those failed again.

Not here: what to do about it (run.py).
"""

from bisect import bisect_left
from collections.abc import Mapping

from bems_streams.flows.dead_letters import DeadLetter, DeadLetters
from bems_streams.ports import Coordinates, Extent, GroupOffsets, LogReader, Place


class Watch:
    """`ends`: where the agent's dead-letter topics ended when the run began. Blocking; raises LogUnavailableError."""

    def __init__(
        self, run: str, letters: DeadLetters, log: LogReader, group: GroupOffsets, ends: Mapping[Place, int]
    ) -> None:
        self._run = run
        self._letters = letters
        self._log = log
        self._group = group
        self._read_until = dict(ends)
        self._sent: dict[Coordinates, Coordinates] = {}
        self._offsets: dict[Place, list[int]] = {}
        self._committed: Mapping[Place, int] = {}
        self._failed: set[Coordinates] = set()

    def add(self, origin: Coordinates, at: Coordinates) -> None:
        """One record was sent to `at` in the redrive topic. Within a place, in order."""
        self._sent[origin] = at
        self._offsets.setdefault((at.topic, at.partition), []).append(at.offset)

    def look(self) -> None:
        """First what is handled, then what failed: an agent's dead letter is durable before it goes on."""
        if not self._sent:
            return
        self._committed = self._group.committed([*self._offsets])
        extents = self._log.extents([*self._read_until])
        spans = {place: Extent(start, extents[place].end) for place, start in self._read_until.items()}
        for letter in self._letters.read(spans):
            if isinstance(letter, DeadLetter) and letter.passage.run == self._run:
                self._failed.add(letter.record.at)
        self._read_until = {place: span.end for place, span in spans.items()}

    @property
    def sent(self) -> int:
        """Records sent."""
        return len(self._sent)

    @property
    def settled(self) -> int:
        """Of these, how many the agent has handled."""
        return sum(bisect_left(offsets, self._committed.get(place, 0)) for place, offsets in self._offsets.items())

    @property
    def failed(self) -> int:
        """Of the settled, how many failed again."""
        return sum(self.has_settled(origin) for origin in self._failed)

    def has_settled(self, origin: Coordinates) -> bool:
        """Whether the agent has handled this record."""
        at = self._sent.get(origin)
        return at is not None and self._committed.get((at.topic, at.partition), 0) > at.offset

    def has_failed(self, origin: Coordinates) -> bool:
        """Whether it failed again in this run."""
        return origin in self._failed
