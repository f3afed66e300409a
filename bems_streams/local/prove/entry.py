"""What is written down of each fault: when it began, ended and was survived, and what the cell did meanwhile.

Not here: doing it (engine.py), showing it (report.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bems_streams.local.prove.evidence import Finding
from bems_streams.local.prove.plan import Planned


@dataclass(slots=True)
class Entry:
    """One fault. Times are seconds since the load began; None: not yet, or never."""

    planned: Planned
    started_seconds: float
    ended_seconds: float | None = None
    survived_seconds: float | None = None
    accepted_before: int = 0
    accepted_after: int = 0
    missing: str = ""
    """Who was not back, or what was not caught up with, when last looked at."""

    @property
    def survived(self) -> bool:
        """The cell was whole again, and had caught up with what was accepted until the fault ended."""
        return self.survived_seconds is not None

    def findings(self) -> Sequence[Finding]:
        """A fault that the cell did not survive breaks the guarantee that it attacks first."""
        if self.survived:
            return ()
        kind = self.planned.kind
        what = f"{kind.name} at {self.started_seconds:.0f} s was not survived: {self.missing or 'it never ended'}"
        return (Finding(kind.guarantees[0], what),)

    def document(self) -> dict[str, Any]:
        """For machines."""
        kind = self.planned.kind
        return {
            "number": self.planned.number,
            "fault": kind.name,
            "what": kind.what,
            "guarantees": list(kind.guarantees),
            "target": self.planned.target or None,
            "amount": self.planned.amount or None,
            "planned_seconds": self.planned.at_seconds,
            "hold_seconds": self.planned.hold_seconds,
            "started_seconds": _rounded(self.started_seconds),
            "ended_seconds": _rounded(self.ended_seconds),
            "survived_seconds": _rounded(self.survived_seconds),
            "survived": self.survived,
            "accepted_meanwhile": self.accepted_after - self.accepted_before,
            "missing": self.missing or None,
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
