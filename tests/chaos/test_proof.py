"""Short proofs by seed, on three brokers and two of everything: whatever the plan does, every promise is kept.

Seeds that once found something stay here, named after it.
"""

from pathlib import Path

import pytest

from bems_streams.local.prove.site import ProveOptions
from tests.chaos.proofs import prove

EVENTS_PER_SECOND = 300.0


@pytest.mark.timeout(540)
@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        pytest.param(1, ["kill-tracker", "freeze-tracker", "wipe-tracker", "kill-sink", "freeze-sink"], id="workers"),
        pytest.param(9, ["lose-broker", "store-away", "poison"], id="broker and store at once"),
        pytest.param(2, ["store-refuses", "poison", "kill-gateway"], id="refusals and receipts"),
    ],
)
def test_a_short_proof_closes(tmp_path: Path, seed: int, faults: list[str]) -> None:
    """Nothing acknowledged is missing, every state is right, the ledger closes; and the faults did happen."""
    proof = prove(ProveOptions(tmp_path / "proof", 1.0, EVENTS_PER_SECOND, seed, faults))

    assert list(proof.findings) == []
    assert proof.closed
    assert proof.verdict.totals.missing == 0
    assert proof.survived == len(proof.entries) >= 2
    assert proof.verdict.totals.accepted >= EVENTS_PER_SECOND * 20
