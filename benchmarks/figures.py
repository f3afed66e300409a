"""What every benchmark reports: cases with their runs, and targets that were met or missed.

Not here: measuring anything (the benchmarks), gathering and drawing (__main__.py, report.py).
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one case. `cpu_seconds`: user and system time of the processes measured, not of their peers."""

    events: int
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int = 0
    extra: Mapping[str, float] = field(default_factory=dict)
    """Further figures, units in their names: `p99_ms`, `rows_per_transaction`."""

    @property
    def events_per_second(self) -> float:
        """Events divided by wall time."""
        return self.events / self.seconds

    @property
    def cpu_us_per_event(self) -> float:
        """Microseconds of CPU per event."""
        return 1e6 * self.cpu_seconds / self.events


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the runs."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """At least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Case:
    """One subject measured in one way. `name` is unique within the benchmark: `tracker`, `quix streams`."""

    name: str
    measures: str
    settings: Mapping[str, Any]
    runs: Sequence[Run]

    def spread(self, figure: str) -> Spread:
        """Of `events_per_second`, `cpu_us_per_event`, `peak_rss_bytes`, or a name in `extra`."""
        return Spread.of([run.extra[figure] if figure in run.extra else getattr(run, figure) for run in self.runs])

    def document(self) -> dict[str, Any]:
        """As it stands in the JSON report."""
        names = ["events_per_second", "cpu_us_per_event", "peak_rss_bytes", *self.runs[0].extra]
        return {
            "name": self.name,
            "measures": self.measures,
            "settings": dict(self.settings),
            **{name: asdict(self.spread(name)) for name in names},
            "runs": [asdict(run) for run in self.runs],
        }


class Goal(StrEnum):
    """Which side of the goal is good."""

    AT_MOST = "at most"
    AT_LEAST = "at least"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to reach. `value` is a ratio of medians within one run unless the name carries a unit.

    bounded_by  what keeps it from being better, in words, for whoever reads that it was missed
    """

    name: str
    value: float
    goal: float
    direction: Goal
    bounded_by: str

    @property
    def met(self) -> bool:
        """Whether the goal is reached; a value that is not a number reaches none."""
        return self.value <= self.goal if self.direction is Goal.AT_MOST else self.value >= self.goal

    def document(self) -> dict[str, Any]:
        """As it stands in the JSON report."""
        return asdict(self) | {"met": self.met}


INDENT: Final = 2


def write_report(path: Path, cases: Sequence[Case], targets: Sequence[Target]) -> None:
    """What a benchmark hands to `python -m benchmarks`."""
    document = {"cases": [case.document() for case in cases], "targets": [target.document() for target in targets]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=INDENT) + "\n", encoding="utf-8")
