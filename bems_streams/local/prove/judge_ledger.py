"""What the ledger's own verification has to say to a proof: every entry against its rows and the log.

Not here: the verification (flows/reconcile.py).
"""

from collections.abc import Callable, Sequence

from bems_streams.flows.ledger.findings import Reconciliation
from bems_streams.flows.reconcile import Look, Reconciler, Scope
from bems_streams.local.prove.evidence import Objection
from bems_streams.ports import Clock, LogReader, StoreReader
from bems_streams.topics import Catalogue


def ledger_verification(
    log: LogReader, store: StoreReader, clock: Clock, catalogue: Catalogue, cell: str, look: Look = Look.DEEP
) -> Callable[[], Sequence[Objection]]:
    """For `Evidence.verify`. The judge reads every record itself; a deep look of the ledger reads it once more."""

    def verify() -> Sequence[Objection]:
        return objections(Reconciler(log, store, clock, Scope.of(catalogue)).verify(look=look), cell)

    return verify


def objections(found: Reconciliation, cell: str) -> Sequence[Objection]:
    """Everything that keeps the ledger of a cell at rest from being closed, by name as far as there are names."""
    named = [
        Objection(
            f"ledger of the {finding.agent}: {finding.kind}: {finding.detail}",
            finding.receipt(cell),
            finding.event_id,
            finding.invoice_id,
        )
        for finding in found.findings
    ]
    totals = [
        Objection(
            f"ledger: {total.currency} accepted {total.accepted}, in the log {total.in_log}, in the rows {total.stored}"
        )
        for total in found.totals
        if not total.closed
    ]
    pending = [
        Objection(f"ledger of the {agent}: {number} offsets are not accounted for yet, though the cell is at rest")
        for agent, number in found.pending.items()
        if number
    ]
    unsettled = [Objection(f"ledger: {found.unsettled} entries still change, though the cell is at rest")]
    return [*named, *totals, *pending, *(unsettled if found.unsettled else ())]
