"""What happens to a batch of stage events: folded into their invoices, status published, offsets moved; all or nothing.

Not here: alerts on silence (watch.py), the order of steps (deliver.py), transactions and disks (runtime).
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bems_streams.domain.accounting import encode_accounting
from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event
from bems_streams.domain.failures import BadEnvelope, Failure, Problem, Unfoldable
from bems_streams.domain.fold import fold
from bems_streams.domain.journey import StageLostError
from bems_streams.domain.views import cleared_alert
from bems_streams.flows.accounts import Accounted, documents, spans
from bems_streams.flows.decode import judge
from bems_streams.flows.lanes import Arrival, SetAside, count_asides
from bems_streams.flows.tracking import (
    AGENT,
    UNUSABLE,
    Changes,
    TrackingParts,
    count_alerts,
    publish_changes,
    write_changes,
)
from bems_streams.ports import Account, Coordinates, Note, Offsets, OutRecord, RawRecord, RecordOutcome

logger = logging.getLogger(__name__)

MAX_STATE_BYTES = 900_000
"""What still fits into a changelog record together with its headers."""

Arrivals = list[tuple[Arrival, Event]]


class OversizeStateError(Exception):
    """One invoice has more events than its changelog record can hold."""


@dataclass(slots=True)
class Tracked(Changes):
    """The decision about one batch."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    asides: list[SetAside] = field(default_factory=list)
    handled: dict[Coordinates, RecordOutcome] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


class Track:
    """Steps of the tracker; see deliver.py."""

    def __init__(self, parts: TrackingParts) -> None:
        self._parts = parts

    def decide(self, given: Sequence[RawRecord]) -> Tracked:
        """Fold every event; name an outcome for every record, and account for all of them."""
        tracked, stage_of, lanes = Tracked(), self._parts.stage_of, self._parts.lanes
        arrivals: dict[int, dict[bytes, Arrivals]] = {}
        now_us = self._parts.clock.now_us()
        for record in given:
            at = record.at
            tracked.offsets[at.topic, at.partition] = at.offset + 1
            arrival = Arrival(record, None) if at.topic in stage_of else lanes.arrival(record)
            event = self._judge(arrival, now_us)
            if isinstance(event, Failure):
                self._set_aside(tracked, arrival, event, now_us)
            else:
                key = record.key or b""
                arrivals.setdefault(at.partition, {}).setdefault(key, []).append((arrival, event))
        for number, invoices in arrivals.items():
            keys = list(invoices)
            for key, stored in zip(keys, self._parts.table.get_many(number, keys), strict=True):
                self._fold_invoice(tracked, number, key, stored, invoices[key], now_us)
        self._account(tracked, given)
        return tracked

    def _judge(self, arrival: Arrival, now_us: int) -> Event | Failure:
        if arrival.failure is not None:
            return arrival.failure
        stage = self._parts.stage_of.get(arrival.record.at.topic)
        if stage is None:
            return BadEnvelope((Problem("", f"it came from {arrival.record.at.topic}, which is no stage topic"),))
        return judge(arrival.record, stage, now_us)

    def _account(self, tracked: Tracked, given: Sequence[RawRecord]) -> None:
        """What the ledger is told, in the same transaction as everything else."""
        parts = self._parts
        fresh = (
            Accounted(record.at, record.accepted_us, tracked.handled[record.at])
            for record in given
            if record.at.topic in parts.stage_of
        )
        account = Account(AGENT, spans(AGENT, fresh), tracked.notes)
        for number, document in documents(account, parts.cell, parts.region).items():
            value = encode_accounting(document)
            tracked.out.append(OutRecord(parts.ledger_topic, str(number).encode(), value, partition=number))

    def _fold_invoice(
        self, tracked: Tracked, number: int, key: bytes, stored: bytes | None, arrivals: Arrivals, now_us: int
    ) -> None:
        """One invoice's events of this batch. What cannot be folded is set aside, so that the others go on."""
        try:
            invoice = TrackedInvoice.new() if stored is None else decode_tracked(stored)
            new = [
                fold(invoice.state, event, arrival.record.accepted_us, self._parts.journey)
                for arrival, event in arrivals
            ]
            changed = any(new) or encode_tracked(invoice) != stored  # a copy can count too, if it was accepted earlier
            staged = self._stage(number, key, invoice, now_us) if changed else Changes()
        except StageLostError:
            raise  # the catalogue is wrong, not the event: stop and say so
        except (*UNUSABLE, OversizeStateError) as error:
            logger.exception("invoice %r cannot be folded; its events go to the dead letters", key)
            failure = Unfoldable((Problem("", f"{type(error).__name__}: {error}"),))
            for arrival, event in arrivals:
                self._set_aside(tracked, arrival, failure, now_us, event)
            return
        tracked.add(staged)
        for (arrival, _), is_new in zip(arrivals, new, strict=True):
            outcome = RecordOutcome.STORED if is_new else RecordOutcome.DUPLICATE
            tracked.handled[arrival.record.at] = outcome
            tracked.outcomes[self._parts.stage_of[arrival.record.at.topic], "folded" if is_new else "duplicate"] += 1
            if arrival.passage is not None:
                tracked.notes.append(Note(arrival.record.at, outcome, arrival.record.accepted_us, now_us))

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

    def _set_aside(
        self, tracked: Tracked, arrival: Arrival, failure: Failure, now_us: int, event: Event | None = None
    ) -> None:
        aside = self._parts.lanes.set_aside(arrival, failure, now_us)
        tracked.out.append(aside.out)
        tracked.asides.append(aside)
        record = arrival.record
        if record.at.topic not in self._parts.stage_of:
            return
        outcome = RecordOutcome.DEAD_LETTERED if aside.dead else RecordOutcome.RETRYING
        tracked.handled[record.at] = outcome
        tracked.notes.append(
            Note(
                at=record.at,
                outcome=outcome,
                accepted_us=record.accepted_us,
                noted_us=now_us,
                code=failure.code,
                reason=failure.reason,
                attempts=aside.passage.attempts,
                not_before_us=aside.passage.not_before_us,
                invoice_id=None if record.key is None else record.key.decode("utf-8", "replace"),
                event_id=None if event is None else event.event_id,
            )
        )

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
        count_asides(self._parts.metrics, self._parts.stage_of, decision.asides)
        count_alerts(self._parts, decision)
