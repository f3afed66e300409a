"""Takes records again that the log holds and the store lacks: by the same journey as the first time.

Rows come back under the same receipt, ledger entries that were never written are written; what is there stays as it is.
Not here: finding out what is missing (flows/reconcile.py), the journey (flows/store.py).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from bems_streams.flows.deliver import deliver
from bems_streams.flows.ledger.coverage import together
from bems_streams.flows.ledger.evidence import Evidence
from bems_streams.flows.ledger.findings import Finding, Kind, Reconciliation
from bems_streams.flows.store import Store
from bems_streams.ports import STORE_AGENT, Extent, Place, RawRecord

REPAIRABLE: Final = frozenset({Kind.MISSING, Kind.UNRECORDED})
MOST_ROUNDS: Final = 10
Ranges = Mapping[Place, Sequence[Extent]]


def repairable(findings: Iterable[Finding]) -> Ranges:
    """The offsets to take again: those of the agent that writes the store, and only what is lacking."""
    found: defaultdict[Place, list[Extent]] = defaultdict(list)
    for one in findings:
        if one.agent == STORE_AGENT and one.kind in REPAIRABLE:
            found[one.topic, one.partition].append(Extent(one.first_offset, one.next_offset))
    return {place: together(extents, 0) for place, extents in found.items()}


async def repair_all(verify: Callable[[], Reconciliation], evidence: Evidence, store: Store) -> int:
    """Repairs until nothing more is to be had: rows outside the ledger are named a thousand at a time."""
    taken = 0
    for _ in range(MOST_ROUNDS):
        more = await repair(evidence, store, repairable(verify().findings))
        taken += more
        if not more:
            break
    return taken


async def repair(evidence: Evidence, store: Store, ranges: Ranges) -> int:
    """Take every record of these ranges that the log still holds. Returns how many that were."""
    taken = 0
    for records in evidence.records(ranges):
        for stretch in _stretches(records, ranges):
            await deliver(store, stretch)
            taken += len(stretch)
    return taken


def _stretches(records: Sequence[RawRecord], ranges: Ranges) -> Iterator[Sequence[RawRecord]]:
    """Records of one range each: what lies between two ranges is handled already, and no part of a batch."""
    named = ((_range_of(record, ranges), record) for record in records)
    for extent, stretch in groupby(named, key=lambda one: one[0]):
        if extent is not None:
            yield [record for _, record in stretch]


def _range_of(record: RawRecord, ranges: Ranges) -> Extent | None:
    own = ranges[record.at.topic, record.at.partition]
    return next((extent for extent in own if extent.start <= record.at.offset < extent.end), None)
