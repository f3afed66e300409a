"""The agent's redrive topic as the journal of a run: each record in it names its run and what was expected of it.

So a run that was killed knows exactly what it has sent. Not here: sending (run.py), what became of it (predict.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bems_streams.domain.failures import BadEnvelope
from bems_streams.flows.dead_letters import DeadLetter
from bems_streams.flows.envelope import disclose, enclose
from bems_streams.flows.redrive.terms import SENT, Verdict
from bems_streams.ports import Coordinates, Extent, LogReader, OutRecord, Place, RawRecord

PREDICTED_HEADER: Final = "bems-redrive-predicted"


class Sent(NamedTuple):
    """One record that a run has sent: as it is in the redrive topic, and as it was accepted."""

    raw: RawRecord
    original: RawRecord
    predicted: Verdict


def redriven(letter: DeadLetter, topic: str, run: str, now_us: int, predicted: Verdict) -> OutRecord:
    """Pure. The dead letter on its way back: due at once, one try, counted."""
    passage = letter.passage._replace(redrives=letter.passage.redrives + 1, run=run, attempts=0, not_before_us=now_us)
    out = enclose(letter.record, passage, topic)
    return out._replace(headers=[*out.headers, (PREDICTED_HEADER, predicted.encode())])


def as_read(letter: DeadLetter, topic: str) -> RawRecord:
    """How the agent would read it: what a prediction is made from."""
    out = redriven(letter, topic, "prediction", 0, Verdict.STORED)
    return RawRecord(Coordinates(topic, letter.at.partition, 0), out.key, out.value, out.headers, 0)


class Journal:
    """What one run has sent since it began, when the redrive topic ended at `starts`. Blocking."""

    def __init__(self, log: LogReader, run: str, starts: Mapping[Place, int]) -> None:
        self._log = log
        self._run = run
        self._starts = starts

    @property
    def places(self) -> Sequence[Place]:
        """The partitions of the redrive topic."""
        return [*self._starts]

    def sent(self) -> Iterator[Sent]:
        """Each record once, each partition in order; one that was sent twice counts the first time.

        Raises LogUnavailableError.
        """
        extents = self._log.extents(self.places)
        spans = {place: Extent(start, extents[place].end) for place, start in self._starts.items()}
        there = {place: span for place, span in spans.items() if span.start < span.end}
        known: set[Coordinates] = set()
        for record in self._log.read(there) if there else ():
            disclosed = disclose(record)
            if isinstance(disclosed, BadEnvelope):
                continue
            original, passage = disclosed
            predicted = (dict(record.headers).get(PREDICTED_HEADER) or b"").decode("utf-8", "replace")
            if passage.run == self._run and predicted in SENT and original.at not in known:
                known.add(original.at)
                yield Sent(record, original, Verdict(predicted))
