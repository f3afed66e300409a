"""The JSON shapes of the console's API, made from port values. Amounts stay text; times are microseconds since 1970.

Not here: queries (snapshot.py), HTTP (app.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from bems_streams.console.pace import Pace
from bems_streams.domain.journey import Journey
from bems_streams.ports import (
    AlertRow,
    Coordinates,
    DeadLetterRow,
    DuplicateRow,
    EventRow,
    InvoiceRow,
    StageStanding,
    StoreCounts,
    Timeline,
    Visibility,
)

VISIBILITY_WINDOW_SECONDS: Final = 60
STUCK_LIMIT: Final = 500
DEAD_LETTER_LIMIT: Final = 100

Shape = dict[str, Any]


class Ledger(msgspec.Struct, frozen=True):
    """What became of every accepted event that reached the store. The other parts add up to `accepted`."""

    accepted: int
    stored: int
    duplicates: int
    dead_lettered: int
    retrying: int


class StageView(msgspec.Struct, frozen=True):
    """One stage. `final`: its invoices are closed; `in_catalogue` is False when only the store knows the stage."""

    name: str
    final: bool
    in_catalogue: bool
    stuck_after_us: int | None
    per_second: float
    spark: Sequence[int]
    invoices: int
    stuck: int
    unvalued: int
    value: Mapping[str, str]
    stuck_value: Mapping[str, str]


class Overview(msgspec.Struct, frozen=True):
    """All that the page shows at a glance, as of `taken_us`."""

    cell: str
    region: str
    taken_us: int
    newest_stored_us: int | None
    ledger: Ledger
    invoices: int
    stuck: int
    visibility: Visibility
    visibility_window_seconds: int
    spark_bucket_seconds: int
    stages: Sequence[StageView]


def ledger(counts: StoreCounts) -> Ledger:
    """The ledger line."""
    return Ledger(
        accepted=counts.stored + counts.duplicates + counts.dead_lettered + counts.retrying,
        stored=counts.stored,
        duplicates=counts.duplicates,
        dead_lettered=counts.dead_lettered,
        retrying=counts.retrying,
    )


def stage_views(journey: Journey, standings: Sequence[StageStanding], pace: Pace) -> list[StageView]:
    """The catalogue's stages in journey order, then any other stage that the store holds invoices of."""
    standing_of = {standing.stage: standing for standing in standings}
    others = sorted(set(standing_of) - set(journey.names))
    return [_stage_view(name, journey, standing_of.get(name), pace) for name in (*journey.names, *others)]


def _stage_view(name: str, journey: Journey, standing: StageStanding | None, pace: Pace) -> StageView:
    stage = journey.by_name.get(name)
    now = standing or StageStanding(name, invoices=0, stuck=0, unvalued=0, value={}, stuck_value={})
    return StageView(
        name=name,
        final=name == journey.final.name,
        in_catalogue=stage is not None,
        stuck_after_us=stage.stuck_after_us if stage else None,
        per_second=pace.per_second(name),
        spark=pace.spark(name),
        invoices=now.invoices,
        stuck=now.stuck,
        unvalued=now.unvalued,
        value=dict(sorted(now.value.items())),
        stuck_value=dict(sorted(now.stuck_value.items())),
    )


def stuck_list(rows: Sequence[InvoiceRow], total: int) -> Shape:
    """The longest-stuck invoices; `total` may be more than are listed."""
    return {"total": max(total, len(rows)), "invoices": [invoice(row) for row in rows]}


def dead_letter_list(rows: Sequence[DeadLetterRow], total: int) -> Shape:
    """The newest dead letters; `total` may be more than are listed."""
    return {"total": max(total, len(rows)), "dead_letters": [placed(row) for row in rows]}


def timeline(found: Timeline) -> Shape | None:
    """All about one invoice; None when the store knows nothing of it."""
    if not (found.invoice or found.events or found.duplicates or found.alerts or found.dead_letters):
        return None
    return {
        "invoice": invoice(found.invoice) if found.invoice else None,
        "events": [placed(row) for row in found.events],
        "duplicates": [placed(row) for row in found.duplicates],
        "alerts": [_alert(row) for row in found.alerts],
        "dead_letters": [placed(row) for row in found.dead_letters],
    }


def invoice(row: InvoiceRow) -> Shape:
    """One invoice's newest state, without the full document."""
    shape = row._asdict()
    del shape["document"]
    return shape


def placed(row: EventRow | DuplicateRow | DeadLetterRow) -> Shape:
    """A row of the log, its coordinates spelt out."""
    at: Coordinates = row.at
    return {**row._asdict(), "at": at._asdict()}


def _alert(row: AlertRow) -> Shape:
    shape = row._asdict()
    shape["reason"] = _reason(shape.pop("document"))
    return shape


def _reason(document: str) -> str | None:
    """The sentence of an alert record; None when the record has none (another version wrote it)."""
    try:
        read = msgspec.json.decode(document, type=dict[str, Any], strict=False)
    except msgspec.DecodeError:
        return None
    reason = read.get("reason")
    return reason if isinstance(reason, str) else None
