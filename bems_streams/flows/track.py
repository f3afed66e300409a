"""What happens to a batch of stage events: folded into their invoices, status published, offsets moved; all or nothing.

Not here: alerts on silence (watch.py), the order of steps (deliver.py), transactions and disks (runtime).
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event
from bems_streams.domain.failures import Poison, Problem, Unfoldable
from bems_streams.domain.fold import fold
from bems_streams.domain.journey import StageLostError
from bems_streams.domain.views import cleared_alert
from bems_streams.flows.dead_letter import dead_letter
from bems_streams.flows.decode import decode_event
from bems_streams.flows.tracking import (
    AGENT,
    UNUSABLE,
    Changes,
    TrackingParts,
    count_alerts,
    publish_changes,
    write_changes,
)
from bems_streams.ports import Offsets, RawRecord

logger = logging.getLogger(__name__)

MAX_STATE_BYTES = 900_000
"""What still fits into a changelog record together with its headers."""

Arrivals = list[tuple[RawRecord, Event]]


class OversizeStateError(Exception):
    """One invoice has more events than its changelog record can hold."""


@dataclass(slots=True)
class Tracked(Changes):
    """The decision about one batch."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead: list[str] = field(default_factory=list)


class Track:
    """Steps of the tracker; see deliver.py."""

    def __init__(self, parts: TrackingParts) -> None:
        self._parts = parts

    def decide(self, given: Sequence[RawRecord]) -> Tracked:
        """Fold every event; name an outcome for every record."""
        tracked = Tracked()
        arrivals: dict[int, dict[bytes, Arrivals]] = {}
        for record in given:
            at = record.at
            tracked.offsets[at.topic, at.partition] = at.offset + 1
            event = decode_event(record, self._parts.stage_of[at.topic])
            if isinstance(event, Poison):
                self._reject(tracked, record, event)
            else:
                key = record.key or b""
                arrivals.setdefault(at.partition, {}).setdefault(key, []).append((record, event))
        now_us = self._parts.clock.now_us()
        for number, invoices in arrivals.items():
            keys = list(invoices)
            for key, stored in zip(keys, self._parts.table.get_many(number, keys), strict=True):
                self._fold_invoice(tracked, number, key, stored, invoices[key], now_us)
        return tracked

    def _fold_invoice(
        self, tracked: Tracked, number: int, key: bytes, stored: bytes | None, arrivals: Arrivals, now_us: int
    ) -> None:
        """One invoice's events of this batch. What cannot be folded is set aside, so that the others go on."""
        try:
            invoice = TrackedInvoice.new() if stored is None else decode_tracked(stored)
            new = [fold(invoice.state, event, record.accepted_us, self._parts.journey) for record, event in arrivals]
            changed = any(new) or encode_tracked(invoice) != stored  # a copy can count too, if it was accepted earlier
            staged = self._stage(number, key, invoice, now_us) if changed else Changes()
        except StageLostError:
            raise  # the catalogue is wrong, not the event: stop and say so
        except (*UNUSABLE, OversizeStateError) as error:
            logger.exception("invoice %r cannot be folded; its events go to the dead letters", key)
            self._reject_all(tracked, arrivals, f"{type(error).__name__}: {error}")
            return
        tracked.add(staged)
        for (record, _), is_new in zip(arrivals, new, strict=True):
            outcome = "folded" if is_new else "duplicate"
            tracked.outcomes[self._parts.stage_of[record.at.topic], outcome] += 1

    def _stage(self, number: int, key: bytes, invoice: TrackedInvoice, now_us: int) -> Changes:
        """All that one changed invoice publishes and stores. OversizeStateError when its changelog would refuse it."""
        staged = Changes()
        self._clear_alert(staged, number, key, invoice, now_us)
        size_bytes = len(staged.keep(self._parts, number, key, invoice, now_us))
        if size_bytes > MAX_STATE_BYTES:
            raise OversizeStateError(
                f"the state would take {size_bytes} bytes, {MAX_STATE_BYTES} at most: too many events in one invoice"
            )
        return staged

    def _clear_alert(self, staged: Changes, number: int, key: bytes, invoice: TrackedInvoice, now_us: int) -> None:
        """An alert that is out ends when its stage and deadline no longer hold."""
        parts = self._parts
        if not invoice.alerted_deadline_us:
            return
        current = (invoice.state.stage, invoice.state.deadline_us(parts.journey))
        if current == (invoice.alerted_stage, invoice.alerted_deadline_us):
            return
        alert = cleared_alert(
            key.decode(), invoice, parts.journey, raised_us=now_us, cell=parts.cell, region=parts.region
        )
        staged.alert(parts, number, key, alert)
        invoice.forget_alert()

    def _reject_all(self, tracked: Tracked, arrivals: Arrivals, reason: str) -> None:
        for record, _ in arrivals:
            self._reject(tracked, record, Unfoldable((Problem("", reason),)))

    def _reject(self, tracked: Tracked, record: RawRecord, rejected: Poison) -> None:
        parts = self._parts
        topic = parts.dead_letter_of[record.at.topic]
        tracked.out.append(
            dead_letter(record, rejected, topic=topic, agent=AGENT, cell=parts.cell, region=parts.region)
        )
        tracked.outcomes[parts.stage_of[record.at.topic], "dead_lettered"] += 1
        tracked.dead.append(rejected.code)

    async def publish(self, decision: Tracked) -> Offsets:
        """Step 3."""
        return await publish_changes(self._parts, decision)

    async def write(self, decision: Tracked, proof: Offsets) -> None:
        """Step 4."""
        write_changes(self._parts, decision, proof)

    def count(self, decision: Tracked, result: None) -> None:
        """Step 5."""
        for (stage, outcome), events in decision.outcomes.items():
            self._parts.metrics.count(stage, outcome, events)
        for code in decision.dead:
            self._parts.metrics.dead_letter(code)
        count_alerts(self._parts, decision)
