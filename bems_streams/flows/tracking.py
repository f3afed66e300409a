"""What tracking needs from the outside, and the parts that folding events and watching deadlines share.

Not here: the two journeys themselves (track.py, watch.py).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from bems_streams.domain.codec import CorruptStateError, TrackedInvoice, decode_tracked, decode_watched, encode_tracked
from bems_streams.domain.journey import Journey, StageLostError
from bems_streams.domain.views import AlertDocument, AlertKind, encode_document, status_document
from bems_streams.flows.lanes import Lanes
from bems_streams.metrics import AgentMetrics, TableMetrics
from bems_streams.ports import Change, Clock, FencedLog, InvoiceTable, Offsets, OutRecord, Place

logger = logging.getLogger(__name__)

AGENT = "tracker"
UNUSABLE: Final = (CorruptStateError, ArithmeticError, ValueError, TypeError, LookupError)
"""What stored bytes that are not a state, or make no sense as one, can raise: it concerns that invoice alone."""


@dataclass(frozen=True)
class TrackingParts:
    """What both journeys are built from. Topics come from the catalogue."""

    journey: Journey
    stage_of: Mapping[str, str]
    lanes: Lanes
    status_topic: str
    alerts_topic: str
    ledger_topic: str
    changelog: str
    cell: str
    region: str
    clock: Clock
    table: InvoiceTable
    log: FencedLog
    metrics: AgentMetrics
    table_metrics: TableMetrics


@dataclass(slots=True)
class Changes:
    """What one transaction publishes, and what the table is to hold afterwards."""

    out: list[OutRecord] = field(default_factory=list)
    offsets: dict[Place, int] = field(default_factory=dict)
    table: dict[int, dict[bytes, Change]] = field(default_factory=dict)
    alerts: list[tuple[str, AlertKind]] = field(default_factory=list)

    def alert(self, parts: TrackingParts, number: int, key: bytes, document: AlertDocument) -> None:
        """Add one alert."""
        self.alerts.append((document.stage, document.kind))
        self.out.append(OutRecord(parts.alerts_topic, key, encode_document(document), partition=number))

    def keep(self, number: int, key: bytes, kept: "Kept") -> None:
        """Add one changed invoice."""
        self.table.setdefault(number, {})[key] = kept.change
        self.out.append(kept.changelog)
        self.out.append(kept.status)


class Kept(NamedTuple):
    """What one changed invoice publishes and stores."""

    value: bytes
    change: Change
    changelog: OutRecord
    status: OutRecord


def keep(parts: TrackingParts, number: int, key: bytes, tracked: TrackedInvoice, now_us: int) -> Kept:
    """Move the deadline index, count the revision, make changelog and status."""
    old_deadline_us = tracked.deadline_us
    due_us = tracked.state.deadline_us(parts.journey) or 0
    tracked.deadline_us = 0 if tracked.alerted_deadline_us else due_us
    tracked.revision += 1
    value = encode_tracked(tracked)
    status = status_document(
        key.decode(), tracked, parts.journey, updated_us=now_us, cell=parts.cell, region=parts.region
    )
    return Kept(
        value,
        Change(value, old_deadline_us, tracked.deadline_us),
        OutRecord(parts.changelog, key, value, partition=number),
        OutRecord(parts.status_topic, key, encode_document(status), partition=number),
    )


class CurrentDeadlines:
    """ports.Deadlines under the limits of the catalogue given, for states that were stored under any."""

    def __init__(self, journey: Journey) -> None:
        self._journey = journey
        self.limits = msgspec.msgpack.encode([(stage.code, stage.stuck_after_us) for stage in journey.stages])
        """Differs whenever a limit, or a stage, does."""

    def current(self, stored: bytes) -> tuple[bytes, int]:
        """(what the table is to hold, its deadline index entry or 0). StageLostError stops the worker.

        Bytes that are no state are kept as they are, without a deadline, so that all others are watched.
        """
        try:
            invoice = decode_watched(stored)
            watched = invoice.state.stay and not invoice.alerted_deadline_us
            due_us = (invoice.state.deadline_us(self._journey) or 0) if watched else 0
            if due_us == invoice.deadline_us:
                return stored, due_us
            tracked = decode_tracked(stored)
        except StageLostError:
            raise
        except UNUSABLE:
            logger.exception(
                "a stored state cannot be used: its invoice raises no alert, its events go to dead letters"
            )
            return stored, 0
        tracked.deadline_us = due_us
        return encode_tracked(tracked), due_us


async def publish_changes(parts: TrackingParts, changes: Changes) -> Offsets:
    """Step 3: one fenced transaction."""
    return await parts.log.publish(changes.out, changes.offsets)


def write_changes(parts: TrackingParts, changes: Changes, ends: Offsets) -> None:
    """Step 4: one atomic write per partition number."""
    for number, table in changes.table.items():
        parts.table.apply(number, table, ends[parts.changelog, number])


def count_alerts(parts: TrackingParts, changes: Changes) -> None:
    """Part of step 5."""
    for stage, kind in changes.alerts:
        parts.table_metrics.alerts.labels(stage, kind).inc()
