"""What tracking asks of the runtime: a table of invoices, and a log that fences whoever lost its partitions.

Not here: what is decided about invoices (flows), RocksDB and transactions (runtime).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from bems_streams.ports.log import Offsets, OutRecord


class Change(NamedTuple):
    """One invoice's new stored value (None deletes it), and its deadline index entry before and after (0: none)."""

    value: bytes | None
    old_deadline_us: int
    new_deadline_us: int


class Deadlines(Protocol):
    """Which deadline a stored invoice has under the limits of today."""

    @property
    def limits(self) -> bytes:
        """Differs when deadlines may."""

    def current(self, stored: bytes) -> tuple[bytes, int]:
        """(what the table is to hold, its deadline index entry or 0)."""


class InvoiceTable(Protocol):
    """State per invoice, by partition number. Reads see everything applied before. Blocking, fast."""

    def get_many(self, number: int, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Stored values, same order; None where there is none."""

    def apply(self, number: int, changes: Mapping[bytes, Change], changelog_offset: int) -> None:
        """States, deadline index and changelog position in one atomic write."""

    def due(self, number: int, until_us: int, limit: int) -> Sequence[bytes]:
        """Keys whose deadline is at or before `until_us`, oldest first."""


class FencedLog(Protocol):
    """Publishes and commits source offsets in one transaction; the broker refuses it to whoever lost the partitions."""

    def positions(self, number: int) -> Offsets:
        """Next source offset of each stage topic's partition `number`."""

    async def publish(self, records: Sequence[OutRecord], offsets: Offsets) -> Offsets:
        """All or nothing. Returns the offset after the last record per (topic, partition) written to explicitly."""


Settled = Callable[[int, int], int]
"""(partition number, now_us) -> the moment up to which every accepted event of that number has been folded in."""
