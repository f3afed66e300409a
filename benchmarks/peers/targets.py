"""What the comparison is to show: our CPU per event as a ratio to each peer's, with what bounds it.

Not here: measuring (benchmarks/tracker_peers.py).
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from benchmarks.figures import Case, Goal, Target
from benchmarks.peers import line_up

OURS: Final = "tracker"
WHOLE: Final = "cpu_us_per_event"
STEADY: Final = "steady_cpu_us_per_event"

WARM_EVENTS: Final = 1_000_000
"""A JVM compiles its hot paths for that long: a second half that ends sooner is not its steady state."""

_TRANSACTION: Final = (
    "one core of Python; on top of what peers do, the tracker writes ledger accounts and a deadline index, and commits "
    "offsets, changelog and statuses in one fenced transaction"
)

_COMPILED: Final = (
    "decode and fold in Python: the bare loop, which does nothing else, costs about as much as all of a compiled "
    "engine once that is warm"
)


class Wanted(NamedTuple):
    """One ratio of medians."""

    peer: str
    figure: str
    said: str
    goal: float
    bounded_by: str


WANTED: Final = (
    Wanted(line_up.QUIX, WHOLE, "CPU per event", 0.5, _TRANSACTION),
    Wanted(line_up.TUNED, STEADY, "CPU per event in the second half", 1.0, _COMPILED),
    Wanted(line_up.TUNED, WHOLE, "CPU per event over the whole run", 1.0, _TRANSACTION),
    Wanted(line_up.BARE, WHOLE, "CPU per event", 2.0, "state, changelog, table, statuses and ledger in Python"),
    Wanted(line_up.FAUST, WHOLE, "CPU per event", 0.05, _TRANSACTION),
)


def targets(cases: Sequence[Case]) -> list[Target]:
    """Those whose peers were measured; the second half only where it is the steady state. Of two clients the faster."""
    medians = {case.name: {figure: case.spread(figure).median for figure in (WHOLE, STEADY)} for case in cases}
    return [
        Target(
            f"tracker / {wanted.peer}, {wanted.said}",
            medians[OURS][wanted.figure] / least,
            wanted.goal,
            Goal.AT_MOST,
            wanted.bounded_by,
        )
        for wanted in WANTED
        if wanted.figure == WHOLE or all(run.events >= WARM_EVENTS for run in _ours(cases).runs)
        if (least := _least(medians, wanted)) is not None
    ]


def _ours(cases: Sequence[Case]) -> Case:
    return next(case for case in cases if case.name == OURS)


def _least(medians: Mapping[str, Mapping[str, float]], wanted: Wanted) -> float | None:
    found = [medians[name][wanted.figure] for name in medians if name == wanted.peer or name in _clients(wanted.peer)]
    return min(found, default=None)


def _clients(peer: str) -> Sequence[str]:
    return [f"{peer}, {client}" for client in line_up.CLIENTS]
