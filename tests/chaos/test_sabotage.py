"""A proof that a broken product passes proves nothing: every promise taken out must break the guarantee it keeps."""

import sys
from pathlib import Path

import pytest

from bems_streams.local.prove.site import ProveOptions
from tests.chaos.proofs import prove
from tests.chaos.sabotage import SABOTAGES
from tests.support import REPOSITORY

CASES = [
    ("ack-before-the-write", ["store-away", "kill-sink"], 27, {"G1"}),
    ("commit-past-a-gap", ["store-away", "kill-sink"], 27, {"G1"}),
    ("skip-the-changelog", ["kill-tracker"], 1, {"G3"}),
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("sabotage", "faults", "seed", "broken"), CASES)
def test_a_broken_promise_is_found(
    tmp_path: Path, sabotage: str, faults: list[str], seed: int, broken: set[str]
) -> None:
    """Not closed, and the guarantee that went is named, with what it cost."""
    program = (sys.executable, str(REPOSITORY / "tests" / "chaos" / "sabotage.py"), sabotage)
    proof = prove(ProveOptions(tmp_path / "proof", 0.6, 200.0, seed, faults, program=program, patience_seconds=30.0))

    assert not proof.closed
    assert broken <= proof.broken.keys()
    assert any(found.guarantee in broken for found in proof.findings)


def test_every_sabotage_is_tried() -> None:
    """One that nobody runs says nothing."""
    assert {case[0] for case in CASES} == SABOTAGES.keys()
