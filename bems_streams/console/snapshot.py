"""One look at the store for all viewers: the queries of the page, encoded once.

Not here: when to look (live.py), JSON shapes (views.py).
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from bems_streams.console import views
from bems_streams.console.pace import SECOND_US, SPARK_BUCKET_SECONDS, Pace
from bems_streams.domain.journey import Journey
from bems_streams.ports import Clock, StoreReader


@dataclass(frozen=True, slots=True)
class Body:
    """Encoded JSON and its ETag: a browser that has it already gets 304 instead."""

    json: bytes
    etag: str


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
    pace: Pace


def take(reader: StoreReader, look: Look) -> Snapshot:
    """Ask everything once. Blocking; StoreUnavailableError when the store is away."""
    now_us = look.clock.now_us()
    since_us = look.pace.since_us(now_us)
    look.pace.learn(reader.rates(since_us, now_us, SECOND_US), since_us, now_us)
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
        stages=views.stage_views(look.journey, reader.standing(), look.pace, now_us),
    )
    stuck = views.stuck_list(reader.stuck(views.STUCK_LIMIT), counts.stuck)
    dead = views.dead_letter_list(reader.dead_letters(views.DEAD_LETTER_LIMIT), counts.dead_lettered)
    return Snapshot(now_us, msgspec.json.encode(overview), _body(stuck), _body(dead))


def _body(shape: dict[str, Any]) -> Body:
    encoded = msgspec.json.encode(shape)
    return Body(encoded, f'"{hashlib.blake2b(encoded, digest_size=12).hexdigest()}"')
