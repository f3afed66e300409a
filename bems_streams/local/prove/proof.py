"""The result of a proof, and its report as a document: what was done, what was survived, what was promised and kept.

Not here: its page for people (page.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from bems_streams.local.prove.entry import Entry
from bems_streams.local.prove.evidence import Finding, Verdict
from bems_streams.local.prove.guarantees import GUARANTEES
from bems_streams.local.prove.load_books import Counters
from bems_streams.local.prove.plan import Planned
from bems_streams.local.prove.samples import Sample, Visible
from bems_streams.local.prove.site import ProveOptions


@dataclass(frozen=True)
class Proof:
    """All that is known at the end. `problems` are the proof's own: with one of them, nothing is proven.

    restarts  by process, faults and orderly restarts included
    """

    options: ProveOptions
    plan: Sequence[Planned]
    entries: Sequence[Entry]
    samples: Sequence[Sample]
    visible: Visible
    counters: Counters
    restarts: Mapping[str, int]
    verdict: Verdict
    seconds: float
    interrupted: bool
    problems: Sequence[Finding] = ()

    @property
    def survived(self) -> int:
        """Faults after which the cell was whole again."""
        return sum(entry.survived for entry in self.entries)

    @property
    def findings(self) -> Sequence[Finding]:
        """Every broken promise that is named."""
        return [
            *self.problems,
            *(found for entry in self.entries for found in entry.findings()),
            *self.verdict.findings,
        ]

    @property
    def closed(self) -> bool:
        """Everything was accounted for, every promise kept, every fault survived."""
        return self.verdict.closed and not self.findings

    @property
    def broken(self) -> Mapping[str, int]:
        """How often each guarantee was broken; those that held are absent."""
        own = Counter(found.guarantee for entry in self.entries for found in entry.findings())
        own.update(found.guarantee for found in self.problems)
        return own + Counter(self.verdict.broken)

    def attacks(self, guarantee: str) -> Sequence[Entry]:
        """The faults that attacked it."""
        return [entry for entry in self.entries if guarantee in entry.planned.kind.guarantees]


def document(proof: Proof) -> dict[str, Any]:
    """For machines."""
    options = proof.options
    return {
        "closed": proof.closed,
        "missing": proof.verdict.totals.missing,
        "accepted": proof.verdict.totals.accepted,
        "faults": proof.survived,
        "faults_injected": len(proof.entries),
        "seed": options.seed,
        "minutes": options.minutes,
        "rate": options.rate,
        "interrupted": proof.interrupted,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "repeat": f"bems prove --minutes {options.minutes:g} --rate {options.rate:g} --seed {options.seed}",
        "load_seconds": round(proof.seconds, 1),
        "accepted_per_second": round(proof.verdict.totals.accepted / proof.seconds, 1) if proof.seconds else 0.0,
        "totals": asdict(proof.verdict.totals),
        "visibility": proof.visible._asdict(),
        "guarantees": {name: _guarantee(proof, name) for name in GUARANTEES},
        "fault_counts": _counts(proof.entries),
        "fault_log": [entry.document() for entry in proof.entries],
        "findings": [found._asdict() for found in proof.findings],
        "load": {name: getattr(proof.counters, name) for name in proof.counters.__struct_fields__ if name != "control"},
        "restarts": dict(proof.restarts),
        "plan": [planned.describe() for planned in proof.plan],
        "samples": [sample._asdict() for sample in proof.samples],
    }


def _guarantee(proof: Proof, name: str) -> dict[str, Any]:
    return {
        "promise": GUARANTEES[name],
        "kept": name not in proof.broken,
        "broken": proof.broken.get(name, 0),
        "attacked_by": dict(Counter(entry.planned.kind.name for entry in proof.attacks(name))),
    }


def _counts(entries: Sequence[Entry]) -> dict[str, dict[str, int]]:
    injected = Counter(entry.planned.kind.name for entry in entries)
    survived = Counter(entry.planned.kind.name for entry in entries if entry.survived)
    return {name: {"injected": count, "survived": survived[name]} for name, count in sorted(injected.items())}
