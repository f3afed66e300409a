"""A store that fails on request: `faulty:CONTROL_FILE|URL` is the store at URL, with the troubles the file asks for.

Registered under the entry points `bems.stores`. Readers pass through. Not here: who asks for trouble (prove/faults.py).
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.stores import Backend, backend_of
from bems_streams.domain.failures import Failure, OutsideHotWindow, Problem, StoreRefused
from bems_streams.ports import (
    Clock,
    EventRow,
    EventStore,
    StoreBatch,
    StoreReader,
    StoreUnavailableError,
    StoreUnusableError,
    WriteOutcome,
    WriteResult,
)

_SHARES: Final = 1 << 32
_NO_FILE: Final = (0, 0)


class Refusals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events are refused. The events are chosen by a hash of salt and event id, so every process agrees.

    share    of all events; each is refused `tries` times by each process, then taken
    for_ever share of all events that is never taken; kept after the trouble, so that dead letters come of it
    """

    salt: str = ""
    share: float = 0.0
    tries: int = 1
    for_ever: float = 0.0


class Troubles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the control file holds, as JSON. Without a file there is none."""

    away: bool = False
    slow_seconds: float = 0.0
    refuse: tuple[Refusals, ...] = ()
    hot_window_seconds: float | None = None
    """Events that happened longer ago than this are taken among the late ones only: this share of them, by a hash."""
    late_share: float = 1.0


def ask_for(path: Path, troubles: Troubles) -> None:
    """Put these troubles in place of the ones before. Stores see the old ones or the new ones, never half of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(msgspec.json.encode(troubles))
    new.replace(path)


def faulty(rest: str) -> Backend:
    """What follows `faulty:` in a URL. StoreUnusableError when it names no file or no store."""
    path, bar, url = rest.partition("|")
    if not path or not bar:
        raise StoreUnusableError(f"faulty:{rest} names no trouble: write faulty:CONTROL_FILE|URL of the real store")
    return FaultyBackend(Path(path), backend_of(url))


class FaultyBackend:
    """The real store, behind its troubles for writers, and as it is for readers."""

    def __init__(self, path: Path, inner: Backend) -> None:
        self._path = path
        self._inner = inner

    def open_store(self) -> EventStore:
        """To write. It may be away from the start."""
        return FaultyStore(self._path, self._inner.open_store(), SystemClock())

    def open_reader(self) -> StoreReader:
        """To read: no troubles."""
        return self._inner.open_reader()


class FaultyStore:
    """`EventStore` with troubles. What it refuses, the real store never sees."""

    def __init__(
        self, path: Path, inner: EventStore, clock: Clock, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._path = path
        self._inner = inner
        self._clock = clock
        self._sleep = sleep
        self._read: tuple[tuple[int, int], Troubles] = (_NO_FILE, Troubles())
        self._tries: dict[tuple[str, str], int] = {}

    def write(self, batch: StoreBatch) -> WriteResult:
        """See the port. With rows refused, the others are written and `handled` is left for the next time."""
        troubles = self._troubles()
        if troubles.away:
            raise StoreUnavailableError("the store is away, as asked for; it comes back when the proof says so")
        if troubles.slow_seconds:
            self._sleep(troubles.slow_seconds)
        now_us = self._clock.now_us()
        new = [self._refuse(row, troubles) or _too_old(row, troubles, now_us) for row in batch.events]
        late = [self._refuse(row, troubles) for row in batch.late_events]
        if not any((*new, *late)):
            return self._inner.write(batch)
        taken = replace(
            batch, events=_unrefused(batch.events, new), late_events=_unrefused(batch.late_events, late), handled=()
        )
        outcomes = iter(self._inner.write(taken).outcomes)
        merged: list[WriteOutcome | Failure] = [failure or next(outcomes) for failure in (*new, *late)]
        return WriteResult(merged)

    def close(self) -> None:
        """See the port."""
        self._inner.close()

    def _troubles(self) -> Troubles:
        try:
            stat = self._path.stat()
            version = stat.st_ino, stat.st_mtime_ns
            if version != self._read[0]:
                self._read = version, msgspec.json.decode(self._path.read_bytes(), type=Troubles)
        except FileNotFoundError:
            self._read = _NO_FILE, Troubles()
        except msgspec.DecodeError as error:
            raise StoreUnusableError(f"{self._path} asks for no trouble there is: {error}; correct it") from error
        return self._read[1]

    def _refuse(self, row: EventRow, troubles: Troubles) -> StoreRefused | None:
        for refusals in troubles.refuse:
            place = _place(refusals.salt, row.event_id)
            if place < refusals.for_ever * _SHARES:
                return _refused("for ever")
            if place < (refusals.for_ever + refusals.share) * _SHARES:
                key = refusals.salt, row.event_id
                self._tries[key] = self._tries.get(key, 0) + 1
                if self._tries[key] <= refusals.tries:
                    return _refused(f"time {self._tries[key]} of {refusals.tries}")
        return None


def _place(salt: str, event_id: str) -> int:
    digest = hashlib.blake2b(f"{salt}/{event_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def _refused(how_often: str) -> StoreRefused:
    return StoreRefused((Problem("", f"refused as asked for, {how_often}"),))


def _too_old(row: EventRow, troubles: Troubles, now_us: int) -> OutsideHotWindow | None:
    if troubles.hot_window_seconds is None or row.occurred_us >= now_us - troubles.hot_window_seconds * 1e6:
        return None
    if _place("late", row.event_id) >= troubles.late_share * _SHARES:
        return None
    return OutsideHotWindow((Problem("occurred_at", f"is more than {troubles.hot_window_seconds:g} s ago"),))


def _unrefused(rows: Sequence[EventRow], failures: Sequence[Failure | None]) -> Sequence[EventRow]:
    return [row for row, failure in zip(rows, failures, strict=True) if failure is None]
