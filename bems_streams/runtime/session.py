"""The tracker's ports, fulfilled for whatever partitions this worker owns at the moment.

Not here: gaining and losing partitions (ownership.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from faust.types import TP

from bems_streams.ports import Change, Offsets, OutRecord
from bems_streams.runtime.fence import KafkaFencedLog
from bems_streams.runtime.ownership import Owned, Ownership
from bems_streams.runtime.table import TablePartition

UNSEEN_US: Final = 1_000_000
"""A record accepted within the last second may be in the log and not yet with us."""


class OwnedTable:
    """ports.InvoiceTable over the open partitions."""

    def __init__(self, partitions: Mapping[int, TablePartition]) -> None:
        self._partitions = partitions

    def get_many(self, number: int, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See InvoiceTable."""
        return self._partitions[number].get_many(keys)

    def apply(self, number: int, changes: Mapping[bytes, Change], changelog_offset: int) -> None:
        """See InvoiceTable."""
        self._partitions[number].apply(changes, changelog_offset)

    def due(self, number: int, until_us: int, limit: int) -> Sequence[bytes]:
        """See InvoiceTable."""
        return self._partitions[number].due(until_us, limit)


class OwnedLog:
    """ports.FencedLog in the name of the current membership. Call it while holding the ownership."""

    def __init__(self, ownership: Ownership, log: KafkaFencedLog) -> None:
        self._ownership = ownership
        self._log = log

    def _owned(self) -> Owned:
        owned = self._ownership.owned
        assert owned is not None, "publishing is only possible while partitions are held"
        return owned

    def positions(self, number: int) -> Offsets:
        """See FencedLog."""
        return {place: offset for place, offset in self._owned().positions.items() if place[1] == number}

    async def publish(self, records: Sequence[OutRecord], offsets: Offsets) -> Offsets:
        """See FencedLog."""
        return await self._log.publish(records, offsets, self._owned().membership)


class Settled:
    """Up to which moment all accepted events of a partition number have been handled (ports.Settled)."""

    def __init__(self, app: Any, ownership: Ownership, topics: Sequence[str]) -> None:
        self._app = app
        self._ownership = ownership
        self._topics = topics

    def __call__(self, number: int, now_us: int) -> int:
        """Microseconds since 1970 UTC; 0 while it is not known."""
        owned = self._ownership.owned
        if owned is None:
            return 0
        return min(self._settled(owned, TP(topic, number), now_us) for topic in self._topics)

    def _settled(self, owned: Owned, tp: TP, now_us: int) -> int:
        end, polled_us = self._app.consumer.highwater(tp), self._app.consumer.polled_us(tp)
        if end is None or polled_us is None:
            return 0
        handled = max(owned.positions[tp.topic, tp.partition], self._app.consumer.passed(tp))
        if handled >= end:  # as of the last answer: a leader may be away since
            return int(min(now_us, polled_us)) - UNSEEN_US
        return owned.accepted.get((tp.topic, tp.partition), 0) - 1000  # others may share the last record's millisecond
