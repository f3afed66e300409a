"""Sums that would be too dear to compute at each look: events per second and stage, invoices per stage.

Written in the transaction of the rows they count, so that they agree with them at every moment.
Not here: which rows count (sqlite.py), reading the sums (sqlite_reader.py).
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal, localcontext
from typing import Final, NamedTuple

from bems_streams.adapters.stores_summary import EXACT, SECOND_US, Valued, valued
from bems_streams.ports import EventRow


class Totals(NamedTuple):
    """One table of sums: what finds a sum by its key, and what sets it."""

    find: str
    set: str


ACTIVITY: Final = Totals(
    "SELECT number, value FROM activity WHERE second = ? AND stage = ? AND currency = ?",
    "INSERT OR REPLACE INTO activity (second, stage, currency, number, value) VALUES (?, ?, ?, ?, ?)",
)
STANDING: Final = Totals(
    "SELECT number, value FROM standing WHERE stage = ? AND currency = ? AND stuck = ?",
    "INSERT OR REPLACE INTO standing (stage, currency, stuck, number, value) VALUES (?, ?, ?, ?, ?)",
)

Key = tuple[int | str, ...]


class Sum(NamedTuple):
    """A number of rows and their summed value."""

    number: int
    value: Decimal


class Sums:
    """What one write changes in one table of sums."""

    def __init__(self) -> None:
        self._changes: dict[Key, tuple[int, Decimal]] = {}

    def change(self, key: Key, number: int, value: Decimal) -> None:
        """Take rows in, or (with negative number and value) out."""
        known = self._changes.get(key)
        self._changes[key] = (number, value) if known is None else (known[0] + number, EXACT.add(known[1], value))

    def write(self, connection: sqlite3.Connection, table: Totals) -> None:
        """Add the changes to what the table holds."""
        rows = []
        for key, (more, added) in self._changes.items():
            if not more and not added:
                continue
            number, value = connection.execute(table.find, key).fetchone() or (0, "0")
            rows.append((*key, number + more, format(EXACT.add(Decimal(value), added), "f")))
        connection.executemany(table.set, rows)


def add_events(connection: sqlite3.Connection, rows: Iterable[tuple[EventRow, Valued]]) -> None:
    """Count rows that were stored just now, by the second of their acceptance."""
    amounts: defaultdict[Key, list[Decimal]] = defaultdict(list)
    for row, (currency, amount) in rows:
        amounts[row.accepted_us // SECOND_US, row.stage, currency].append(amount)
    sums = Sums()
    with localcontext(EXACT):  # a built-in sum of many takes a fifth of adding each to what is known
        for key, several in amounts.items():
            sums.change(key, len(several), sum(several, Decimal(0)))
    sums.write(connection, ACTIVITY)


class Standing:
    """Invoices that enter and leave places: (stage, currency, stuck or not)."""

    def __init__(self) -> None:
        self._sums = Sums()

    def enter(self, stage: str, currency: str | None, amount: str | None, stuck_since_us: int | None) -> None:
        """An invoice is here now."""
        self._move(1, stage, currency, amount, stuck_since_us)

    def leave(self, stage: str, currency: str | None, amount: str | None, stuck_since_us: int | None) -> None:
        """An invoice was here."""
        self._move(-1, stage, currency, amount, stuck_since_us)

    def _move(self, number: int, stage: str, currency: str | None, amount: str | None, stuck: int | None) -> None:
        currency, value = valued(currency, amount)
        self._sums.change(
            (stage, currency, int(stuck is not None)), number, value if number > 0 else value.copy_negate()
        )

    def write(self, connection: sqlite3.Connection) -> None:
        """Add the moves to what the table holds."""
        self._sums.write(connection, STANDING)
        connection.execute("DELETE FROM standing WHERE number = 0")
