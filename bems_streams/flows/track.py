"""What happens to a batch of stage events: folded into their invoices, status published, offsets moved; all or nothing.

Not here: alerts on silence (watch.py), the order of steps (deliver.py), transactions and disks (runtime).
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bems_streams.domain.accounting import encode_accounting
from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event
from bems_streams.domain.failures import BadEnvelope, Failure, Problem, Unfoldable
from bems_streams.domain.fold import fold_all
from bems_streams.domain.journey import StageLostError
from bems_streams.domain.views import AlertDocument, cleared_alert
from bems_streams.flows.accounts import documents, spans
from bems_streams.flows.decode import judge
from bems_streams.flows.lanes import Arrival, SetAside, count_asides
from bems_streams.flows.tracking import (
    AGENT,
    UNUSABLE,
    Changes,
    TrackingParts,
    count_alerts,
    keep,
    publish_changes,
    write_changes,
)
from bems_streams.ports import Account, Note, Offsets, OutRecord, Place, RawRecord, RecordOutcome

logger = logging.getLogger(__name__)

MAX_STATE_BYTES = 900_000
"""What still fits into a changelog record together with its headers."""

Arrivals = list[tuple[RawRecord, str, Arrival | None]]
"""Of one invoice: the record at its original coordinates, its stage, and how it came when it came by a lane."""

Refused = tuple[Arrival, Failure, Event | None]


class OversizeStateError(Exception):
    """One invoice has more events than its changelog record can hold."""


class MiscountError(Exception):
    """The ledger would be told of other records than something was done with."""


@dataclass(slots=True)
class Tracked(Changes):
    """The decision about some batches.

    unlike    outcomes of records of stage topics that were not folded as new
    handled   how many events were folded, new or not
    outcomes  how many by stage and outcome
    """

    asides: list[SetAside] = field(default_factory=list)
    unlike: defaultdict[Place, dict[int, RecordOutcome]] = field(default_factory=lambda: defaultdict(dict))
    handled: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: list[Note] = field(default_factory=list)


class Track:
    """Steps of the tracker; see deliver.py. What is given are batches: records of one partition, in offset order."""

    _judge = staticmethod(judge)

    def __init__(self, parts: TrackingParts) -> None:
        self._parts = parts

    def decide(self, given: Sequence[Sequence[RawRecord]]) -> Tracked:
        """Fold every event; name an outcome for every record, and account for all of them.

        Records are brought together by invoice before they are decoded: an event is folded while it is in the
        processor's cache, and gone before the next invoice's are made. Decoding all of them first costs 40 % more.
        """
        tracked, now_us = Tracked(), self._parts.clock.now_us()
        by_number: dict[int, list[Sequence[RawRecord]]] = {}
        for records in given:
            at = records[-1].at
            tracked.offsets[at.topic, at.partition] = at.offset + 1
            by_number.setdefault(at.partition, []).append(records)
        for number, batches in by_number.items():
            self._decide_number(tracked, number, batches, now_us)
        self._account(tracked, given)
        return tracked

    def _decide_number(
        self, tracked: Tracked, number: int, batches: Sequence[Sequence[RawRecord]], now_us: int
    ) -> None:
        refused: list[Refused] = []
        invoices = self._by_invoice(batches, refused)
        keys = list(invoices)
        stored = self._parts.table.get_many(number, keys)
        for key, state, arrivals in zip(keys, stored, invoices.values(), strict=True):
            self._decide_invoice(tracked, refused, number, key, state, arrivals, now_us)
        for arrival, failure, event in sorted(refused, key=lambda each: each[0].record.at):
            self._set_aside(tracked, arrival, failure, now_us, event)

    def _by_invoice(self, batches: Sequence[Sequence[RawRecord]], refused: list[Refused]) -> Mapping[bytes, Arrivals]:
        """By key, which is the invoice id of all that is well-formed."""
        stage_of, invoices = self._parts.stage_of, defaultdict[bytes, Arrivals](list)
        for records in batches:
            stage = stage_of.get(records[0].at.topic)
            if stage is not None:
                for record in records:
                    invoices[record.key or b""].append((record, stage, None))
                continue
            for arrival in map(self._parts.lanes.arrival, records):
                record = arrival.record
                stage = stage_of.get(record.at.topic)
                if arrival.failure is not None:
                    refused.append((arrival, arrival.failure, None))
                elif stage is None:
                    stray = Problem("", f"it came from {record.at.topic}, which is no stage topic")
                    refused.append((arrival, BadEnvelope((stray,)), None))
                else:
                    invoices[record.key or b""].append((record, stage, arrival))
        return invoices

    def _account(self, tracked: Tracked, given: Sequence[Sequence[RawRecord]]) -> None:
        """What the ledger is told, in the same transaction as everything else."""
        parts = self._parts
        fresh = [records for records in given if records[0].at.topic in parts.stage_of]
        account = Account(AGENT, spans(AGENT, fresh, tracked.unlike), tracked.notes)
        for span in account.spans:
            stage = parts.stage_of[span.topic]
            tracked.outcomes[stage, "folded"] += span.stored
            tracked.outcomes[stage, "duplicate"] += span.duplicates
        if tracked.outcomes.total() != tracked.handled:
            raise MiscountError(f"{tracked.outcomes.total()} events to be accounted for, {tracked.handled} folded")
        for number, document in documents(account, parts.cell, parts.region).items():
            value = encode_accounting(document)
            tracked.out.append(OutRecord(parts.ledger_topic, str(number).encode(), value, partition=number))

    def _decide_invoice(
        self,
        tracked: Tracked,
        refused: list[Refused],
        number: int,
        key: bytes,
        stored: bytes | None,
        arrivals: Arrivals,
        now_us: int,
    ) -> None:
        """One invoice's events of this batch. What cannot be folded is set aside, so that the others go on."""
        judge_record = self._judge
        good, events = [], []
        for each in arrivals:
            record, stage, arrival = each
            event = judge_record(record, stage, now_us)
            if isinstance(event, Event):
                good.append(each)
                events.append((event, record.accepted_us))
            else:
                refused.append((arrival or Arrival(record, None), event, None))
        if not events:
            return
        try:
            new = self._fold(tracked, number, key, stored, events, now_us)
        except StageLostError:
            raise  # the catalogue is wrong, not the event: stop and say so
        except (*UNUSABLE, OversizeStateError) as error:
            logger.exception("invoice %r cannot be folded; its events go to the dead letters", key)
            failure = Unfoldable((Problem("", f"{type(error).__name__}: {error}"),))
            for (record, _, arrival), (event, _) in zip(good, events, strict=True):
                refused.append((arrival or Arrival(record, None), failure, event))
            return
        tracked.handled += len(new)
        for (record, _, arrival), is_new in zip(good, new, strict=True):
            if arrival is not None:
                self._note_returned(tracked, record, is_new, now_us)
            elif not is_new:
                tracked.unlike[record.at[:2]][record.at.offset] = RecordOutcome.DUPLICATE

    def _fold(
        self,
        tracked: Tracked,
        number: int,
        key: bytes,
        stored: bytes | None,
        events: Sequence[tuple[Event, int]],
        now_us: int,
    ) -> list[bool]:
        """Which events were new. Adds what follows of them; raises before it has added anything."""
        invoice = TrackedInvoice.new() if stored is None else decode_tracked(stored)
        new = fold_all(invoice.state, events, self._parts.journey)
        if True in new or encode_tracked(invoice) != stored:  # a copy can count too, if it was accepted earlier
            self._stage(tracked, number, key, invoice, now_us)
        return new

    def _note_returned(self, tracked: Tracked, record: RawRecord, is_new: bool, now_us: int) -> None:
        """A record that came back from a lane belongs to no span of this account."""
        outcome = RecordOutcome.STORED if is_new else RecordOutcome.DUPLICATE
        tracked.outcomes[self._parts.stage_of[record.at.topic], "folded" if is_new else "duplicate"] += 1
        tracked.notes.append(Note(record.at, outcome, record.accepted_us, now_us))

    def _stage(self, tracked: Tracked, number: int, key: bytes, invoice: TrackedInvoice, now_us: int) -> None:
        """Add all that one changed invoice publishes and stores, or nothing when that raises.

        OversizeStateError when its changelog would refuse it.
        """
        cleared = self._cleared(key, invoice, now_us)
        kept = keep(self._parts, number, key, invoice, now_us)
        size_bytes = len(kept.value)
        if size_bytes > MAX_STATE_BYTES:
            raise OversizeStateError(
                f"the state would take {size_bytes} bytes, {MAX_STATE_BYTES} at most: too many events in one invoice"
            )
        if cleared is not None:
            tracked.alert(self._parts, number, key, cleared)
        tracked.keep(number, key, kept)

    def _cleared(self, key: bytes, invoice: TrackedInvoice, now_us: int) -> AlertDocument | None:
        """An alert that is out ends when its stage and deadline no longer hold."""
        parts = self._parts
        if not invoice.alerted_deadline_us:
            return None
        current = (invoice.state.stage, invoice.state.deadline_us(parts.journey))
        if current == (invoice.alerted_stage, invoice.alerted_deadline_us):
            return None
        alert = cleared_alert(
            key.decode(), invoice, parts.journey, raised_us=now_us, cell=parts.cell, region=parts.region
        )
        invoice.forget_alert()
        return alert

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
        tracked.unlike[record.at[:2]][record.at.offset] = outcome
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
            if events:
                self._parts.metrics.count(stage, outcome, events)
        count_asides(self._parts.metrics, self._parts.stage_of, decision.asides)
        count_alerts(self._parts, decision)
