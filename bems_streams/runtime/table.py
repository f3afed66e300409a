"""The per-invoice table: one RocksDB per partition number, holding state, deadline index and log positions.

One WriteBatch per update, so a crash leaves all of it or none. The changelog is the truth; this is its local copy.
Not here: reading the changelog (restore.py), what state means (domain).
"""

import logging
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import rocksdict

from bems_streams.domain.codec import CorruptStateError, decode_watched, refuse_newer
from bems_streams.ports import Change, Deadlines
from bems_streams.runtime.table_memory import TableMemory

logger = logging.getLogger(__name__)

_STATE: Final = b"s"
_AFTER_STATES: Final = b"t"
_DEADLINE: Final = b"d"
_AFTER_DEADLINES: Final = b"e"
_CHANGELOG: Final = b"m:changelog"
_CHANGELOG_ID: Final = b"m:changelog-id"
_LIMITS: Final = b"m:limits"
_FILLING: Final = b"m:filling"
_U64: Final = struct.Struct(">Q")

_DAMAGED: Final = ("Corruption", "IO error: No such file or directory")

INDEX_CHANGES: Final = 10_000
LATEST_US: Final = 2**64 - 1


class TablePartition:
    """The table of one partition number. Single writer; not thread-safe.

    Heals itself by starting empty, which the changelog fills: when it is damaged, or belongs to another changelog.
    """

    def __init__(self, folder: Path, number: int, deadlines: Deadlines, memory: TableMemory) -> None:
        self.number = number
        self._memory = memory
        self._deadlines = deadlines
        self._path = folder / f"{number:03d}"
        self._removed = folder / f"{number:03d}.removed"
        self._damaged = folder / f"{number:03d}.damaged"
        self._db: Any = None
        self._open()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._removed, ignore_errors=True)
        if self._damaged.exists():
            logger.warning("table %d was found damaged while in use and is rebuilt from the changelog", self.number)
            self._remove()
            self._damaged.unlink()
        try:
            self._load()
        except Exception as error:  # rocksdict's own have no type; the text begins with RocksDB's status
            if not str(error).startswith(_DAMAGED):
                raise
            logger.warning("table %d is damaged and is rebuilt from the changelog: %s", self.number, error)
            if self._db is not None:
                self._db.close()
            self._remove()
            self._load()

    def _load(self) -> None:
        self._db = rocksdict.Rdict(str(self._path), options=self._memory.options())
        self._none_before_us = 0  # no entry of the deadline index is before this moment
        stored = self._db.get(_CHANGELOG)
        self.changelog_offset = 0 if stored is None else _U64.unpack(stored)[0]
        self._filling = self._db.get(_FILLING) is not None
        if not self._filling:
            self._index_anew()

    def _index_anew(self) -> None:
        """After limits changed: a shorter one must reach invoices that never send another event."""
        limits = self._deadlines.limits
        if self._db.get(_LIMITS) == limits:
            return
        changes: dict[bytes, Change] = {}
        for key, stored in self.items():
            value, deadline_us = self._deadlines.current(stored)
            if value != stored:
                changes[key] = Change(value, _deadline_of(stored), deadline_us)
            if len(changes) == INDEX_CHANGES:
                self.apply(changes, self.changelog_offset)
                changes.clear()
        self.apply(changes, self.changelog_offset)
        self._db[_LIMITS] = limits

    def claim(self, changelog_id: bytes) -> None:
        """Start empty when what is here came from another changelog: a cluster made anew under a kept folder."""
        known = self._db.get(_CHANGELOG_ID)
        if known != changelog_id:
            if known is not None or self.changelog_offset:
                logger.warning("table %d came from another changelog topic and is rebuilt from this one", self.number)
                self.wipe()
            self._db[_CHANGELOG_ID] = changelog_id

    def _remove(self) -> None:
        """Under another name first: of a folder removed by half, RocksDB might take what is left for the whole."""
        if self._path.exists():
            self._path.rename(self._removed)
            shutil.rmtree(self._removed)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Stored values, same order; None where there is none."""
        if not keys:
            return []
        with self._noting_damage():
            values: list[bytes | None] = self._db.get([_STATE + key for key in keys])
        return values

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        """Damage found while in use ends the worker; the note makes the next start begin empty, not end the same."""
        try:
            yield
        except Exception as error:
            if str(error).startswith(_DAMAGED):
                self._damaged.touch()
            raise

    def apply(self, changes: Mapping[bytes, Change], changelog_offset: int) -> None:
        """Write states, deadline index and changelog position at once."""
        assert not self._filling, "a table that is being filled is not worked on"
        batch = rocksdict.WriteBatch(raw_mode=True)
        earliest_us = self._none_before_us
        for key, change in changes.items():
            if change.old_deadline_us and change.old_deadline_us != change.new_deadline_us:
                batch.delete(_DEADLINE + _U64.pack(change.old_deadline_us) + key)
            if change.new_deadline_us:
                batch.put(_DEADLINE + _U64.pack(change.new_deadline_us) + key, b"")
                earliest_us = min(earliest_us, change.new_deadline_us)
            if change.value is None:
                batch.delete(_STATE + key)
            else:
                batch.put(_STATE + key, change.value)
        batch.put(_CHANGELOG, _U64.pack(changelog_offset))
        self._db.write(batch)
        self.changelog_offset = changelog_offset
        self._none_before_us = earliest_us

    def replay(self, records: Sequence[tuple[bytes, bytes | None]], changelog_offset: int) -> None:
        """Apply changelog records (key, value), oldest first; the last one of a key counts."""
        newest = dict(records)
        if self._filling:
            self._fill(newest, changelog_offset)
            return
        keys = list(newest)
        changes: dict[bytes, Change] = {}
        for key, stored in zip(keys, self.get_many(keys), strict=True):
            value = newest[key]
            kept, deadline_us = (None, 0) if value is None else self._deadlines.current(value)
            changes[key] = Change(kept, 0 if stored is None else _deadline_of(stored), deadline_us)
        self.apply(changes, changelog_offset)

    def begin_filling(self) -> None:
        """What is replayed from now on is only stored, until `end_filling` brings the deadline index about at once.

        For an empty table, or one whose filling was interrupted, which then goes on from `changelog_offset`.
        """
        if not self._filling:
            assert not self.changelog_offset, "only an empty table is filled"
            self._db[_FILLING] = b""
            self._filling = True

    def _fill(self, newest: Mapping[bytes, bytes | None], changelog_offset: int) -> None:
        """Without a log of its own: after a crash RocksDB has all writes up to one of them, positions included."""
        refuse_newer(newest.values())
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in newest.items():
            if value is None:
                batch.delete(_STATE + key)
            else:
                batch.put(_STATE + key, value)
        batch.put(_CHANGELOG, _U64.pack(changelog_offset))
        self._db.write(batch, _unlogged())
        self.changelog_offset = changelog_offset

    def end_filling(self) -> None:
        """Nothing happens when the table is not being filled. A crash in here: it begins anew, and ends the same."""
        if not self._filling:
            return
        if self._has_index():  # of an earlier one that was interrupted, perhaps under other limits
            self._db.delete_range(_DEADLINE, _AFTER_DEADLINES, _unlogged())
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, stored in self.items():
            value, deadline_us = self._deadlines.current(stored)
            if deadline_us:
                batch.put(_DEADLINE + _U64.pack(deadline_us) + key, b"")
            if value != stored:
                batch.put(_STATE + key, value)
            if len(batch) >= INDEX_CHANGES:
                self._db.write(batch, _unlogged())
                batch = rocksdict.WriteBatch(raw_mode=True)
        self._db.write(batch, _unlogged())
        self._db.flush()  # before anything is logged again, which would otherwise be found without what came before it
        done = rocksdict.WriteBatch(raw_mode=True)
        done.delete(_FILLING)
        done.put(_LIMITS, self._deadlines.limits)
        self._db.write(done)
        self._filling = False
        self._none_before_us = 0

    def _has_index(self) -> bool:
        iterator = self._db.iter()
        iterator.seek(_DEADLINE)
        return bool(iterator.valid() and iterator.key() < _AFTER_DEADLINES)

    def due(self, now_us: int, limit: int) -> list[bytes]:
        """Keys whose deadline is at or before `now_us`, oldest first, at most `limit`. Cost follows what is due.

        Reads only from where the last scan found nothing any more up to now: entries that were deleted stay in RocksDB
        for a while, and every scan from the start would pass all of them.
        """
        assert not self._filling, "a table that is being filled is not worked on"
        if now_us < self._none_before_us or limit <= 0:
            return []
        reading = rocksdict.ReadOptions()
        reading.set_iterate_upper_bound(_DEADLINE + _U64.pack(min(now_us + 1, LATEST_US)))
        keys: list[bytes] = []
        first_us = now_us + 1
        with self._noting_damage():
            iterator = self._db.iter(reading)
            iterator.seek(_DEADLINE + _U64.pack(self._none_before_us))
            if iterator.valid():
                first_us = _U64.unpack_from(iterator.key(), 1)[0]
            while iterator.valid() and len(keys) < limit:
                keys.append(iterator.key()[1 + _U64.size :])
                iterator.next()
            iterator.status()
        self._none_before_us = first_us
        return keys

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All invoices with their stored values, for audits and tests."""
        reading = rocksdict.ReadOptions()
        reading.set_iterate_upper_bound(_AFTER_STATES)
        iterator = self._db.iter(reading)
        iterator.seek(_STATE)
        with self._noting_damage():
            while iterator.valid():
                yield iterator.key()[1:], iterator.value()
                iterator.next()
            iterator.status()  # what cannot be read would otherwise look like the end

    def wipe(self) -> None:
        """Start empty: the changelog rebuilds it."""
        self._db.close()
        self._remove()
        self._open()

    def close(self) -> None:
        """Flush and release the lock on the folder."""
        self._db.close()


def _unlogged() -> rocksdict.WriteOptions:
    """A write that is durable once it was flushed, together with all before it."""
    options = rocksdict.WriteOptions()
    options.disable_wal = True  # type: ignore[method-assign, assignment]  # a property, whatever its stub says
    return options


def _deadline_of(stored: bytes) -> int:
    """The index entry that goes with a stored value."""
    try:
        return decode_watched(stored).deadline_us
    except CorruptStateError:
        return 0
