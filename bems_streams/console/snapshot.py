"""One look at the store for all viewers: the queries of the page, encoded once.

Not here: when to look (live.py), JSON shapes (views.py).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from bems_streams.console import views
from bems_streams.console.pace import SECOND_US, SPARK_BUCKET_SECONDS, Pace, window_start_us
from bems_streams.domain.journey import Journey
from bems_streams.ports import Clock, StoreReader, StoreUnavailableError


@dataclass(frozen=True, slots=True)
class Body:
    """Encoded JSON, and what changes whenever it does: a page fetches a list again only then."""

    json: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What all viewers see until the next look."""

    taken_us: int
    overview: bytes
    stuck: Body
    dead_letters: Body


@dataclass(frozen=True, slots=True)
class Look:
    """What a look needs besides the reader."""

    journey: Journey
    clock: Clock
    cell: str
    region: str
    where: str  # of the store, for people


def take(reader: StoreReader, look: Look) -> Snapshot:
    """Ask everything once. Blocking; StoreUnavailableError when the store is away."""
    if not reader.exists():
        raise StoreUnavailableError(
            f"There is no store at {look.where} yet: the sink creates it when it starts. Start bems worker sink, "
            "or start the console with the --store or --state-dir that the sink uses"
        )
    now_us = look.clock.now_us()
    pace = Pace(reader.rates(window_start_us(now_us), now_us, SECOND_US), now_us)
    counts = reader.counts()
    overview = views.Overview(
        cell=look.cell,
        region=look.region,
        taken_us=now_us,
        newest_stored_us=reader.newest_stored_us(),
        ledger=views.ledger(counts),
        invoices=counts.invoices,
        stuck=counts.stuck,
        visibility=reader.visibility(now_us - views.VISIBILITY_WINDOW_SECONDS * SECOND_US, now_us),
        visibility_window_seconds=views.VISIBILITY_WINDOW_SECONDS,
        spark_bucket_seconds=SPARK_BUCKET_SECONDS,
        stages=views.stage_views(look.journey, reader.standing(), pace),
    )
    stuck = views.stuck_list(reader.stuck(views.STUCK_LIMIT), counts.stuck)
    dead = views.dead_letter_list(reader.dead_letters(views.DEAD_LETTER_LIMIT), counts.dead_lettered)
    return Snapshot(now_us, msgspec.json.encode(overview), _body(stuck), _body(dead))


def _body(shape: dict[str, Any]) -> Body:
    encoded = msgspec.json.encode(shape)
    return Body(encoded, hashlib.blake2b(encoded, digest_size=12).hexdigest())
