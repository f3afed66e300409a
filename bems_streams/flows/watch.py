"""What happens on the wall clock: an invoice past its deadline becomes stuck and one alert says so.

Needs no event to arrive, and survives restarts: the deadline index and the note that an alert went out are state.
Not here: folding events and clearing alerts (track.py).
"""

import logging
from collections.abc import Sequence

from bems_streams.domain.codec import TrackedInvoice, decode_tracked
from bems_streams.domain.journey import StageLostError
from bems_streams.domain.views import stuck_alert
from bems_streams.flows.tracking import (
    UNUSABLE,
    Changes,
    TrackingParts,
    count_alerts,
    keep,
    publish_changes,
    write_changes,
)
from bems_streams.ports import Offsets, Settled

logger = logging.getLogger(__name__)

MAX_DUE = 2000
"""Alerts per partition and round: the rest follows in the next round, without starving events."""


class Watch:
    """Steps of the deadline watch; see deliver.py.

    An invoice is judged only as of the moment up to which its events are known: while the tracker catches up after
    being away, an invoice whose next event is still in the backlog raises no false alarm.
    """

    def __init__(self, parts: TrackingParts, settled: Settled) -> None:
        self._parts = parts
        self._settled = settled
        self._unusable: set[bytes] = set()

    def decide(self, given: Sequence[int]) -> Changes:
        """Due invoices of the partition numbers given."""
        changes = Changes()
        now_us = self._parts.clock.now_us()
        with self._parts.table_metrics.scan_seconds.time():
            for number in given:
                until_us = self._settled(number, now_us)
                keys = self._parts.table.due(number, until_us, MAX_DUE + len(self._unusable))
                for key, stored in zip(keys, self._parts.table.get_many(number, keys), strict=True):
                    if stored is not None:
                        self._judge(changes, number, key, stored, until_us, now_us)
                if keys:
                    changes.offsets.update(self._parts.log.positions(number))
        return changes

    def _judge(self, changes: Changes, number: int, key: bytes, stored: bytes, until_us: int, now_us: int) -> None:
        """One invoice. One that makes no sense is named in the log, once, and keeps no other from being watched."""
        try:
            self._stage(changes, number, key, decode_tracked(stored), until_us, now_us)
        except StageLostError:
            raise  # the catalogue is wrong, not the state: stop and say so
        except UNUSABLE:
            if key not in self._unusable:
                self._unusable.add(key)
                logger.exception("the deadline of invoice %r has passed, but its state cannot be used: no alert", key)

    def _stage(
        self, changes: Changes, number: int, key: bytes, invoice: TrackedInvoice, until_us: int, now_us: int
    ) -> None:
        """Add what one due invoice publishes and stores, or nothing when that raises."""
        parts, alert = self._parts, None
        deadline_us = invoice.state.deadline_us(parts.journey)
        if deadline_us is not None and deadline_us <= until_us:
            invoice.note_alert(deadline_us)
            alert = stuck_alert(
                key.decode(), invoice, parts.journey, raised_us=now_us, cell=parts.cell, region=parts.region
            )
        kept = keep(parts, number, key, invoice, now_us)  # also when a new limit only moved the deadline
        if alert is not None:
            changes.alert(parts, number, key, alert)
        changes.keep(number, key, kept)

    async def publish(self, decision: Changes) -> Offsets:
        """Step 3; nothing due, nothing published."""
        return await publish_changes(self._parts, decision) if decision.out else {}

    async def write(self, decision: Changes, proof: Offsets) -> None:
        """Step 4."""
        write_changes(self._parts, decision, proof)

    def count(self, decision: Changes, result: None) -> None:
        """Step 5."""
        count_alerts(self._parts, decision)
