"""Every benchmark there is, in the order in which they run, and what is drawn of each.

Not here: running them (gather.py), drawing (plots.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar per case with the spread of its runs. `figure` is a name in a case of the JSON report."""

    title: str
    figure: str
    unit: str
    only: Mapping[str, object] | None = None
    """Only cases with these settings."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line per kind of case over a setting that varies; the band is the spread of the runs."""

    title: str
    figure: str
    unit: str
    over: str
    over_unit: str


Plot = Bars | Curve


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module, run as `python -m <package>.<name> [--quick] [--json FILE]`.

    peers   prefixes of the names of cases that are not this product; they are drawn in grey
    """

    name: str
    measures: str
    plots: Sequence[Plot] = ()
    peers: Sequence[str] = ()
    package: str = "benchmarks"


BENCHMARKS: Final = (
    Benchmark("domain", "what parsing, folding and encoding an event costs"),
    Benchmark(
        "tracker",
        "CPU, rate and memory of one tracker process on a backlog",
        (Bars("Tracker: CPU per event", "cpu_us_per_event", "µs"),),
    ),
)
