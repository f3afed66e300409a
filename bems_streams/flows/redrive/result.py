"""What really became of every record that a run sent, beside what was predicted. Not here: waiting for it (run.py)."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from bems_streams.flows.redrive.journal import Journal, Sent
from bems_streams.flows.redrive.predict import AgentSide
from bems_streams.flows.redrive.terms import Verdict
from bems_streams.flows.redrive.watch import Watch
from bems_streams.ports import Coordinates


class Difference(NamedTuple):
    """A record that did not do what was predicted. `at`: its original coordinates."""

    at: Coordinates
    invoice_id: str | None
    predicted: Verdict
    result: Verdict


class Told(NamedTuple):
    """Records that were sent, by verdict; and every one whose result is not what was predicted."""

    predicted: Mapping[Verdict, int]
    result: Mapping[Verdict, int]
    differences: tuple[Difference, ...]


def tell(journal: Journal, watch: Watch, side: AgentSide) -> Told:
    """Over all that the run ever sent, also before it was resumed. Blocking; raises what log and store raise."""
    predicted, result, differences = Counter[Verdict](), Counter[Verdict](), []
    for sent in journal.sent():
        became = _became(sent, watch, side)
        predicted[sent.predicted] += 1
        result[became] += 1
        if became is not sent.predicted:
            key = sent.original.key
            invoice = None if key is None else key.decode("utf-8", "replace")
            differences.append(Difference(sent.original.at, invoice, sent.predicted, became))
    return Told(predicted, result, tuple(differences))


def _became(sent: Sent, watch: Watch, side: AgentSide) -> Verdict:
    if watch.has_failed(sent.original.at):
        return Verdict.STILL_FAILING
    if not watch.has_settled(sent.original.at):
        return Verdict.PENDING
    return side.outcome(sent.original)
