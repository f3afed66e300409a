"""Queries over the SQLite store. Each runs in one short read transaction, so that it never holds a writer up.

Not here: connections (sqlite_pool.py), the ledger's questions (sqlite_ledger_reader.py), writing (sqlite.py).
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from bems_streams.adapters import sqlite_ledger_reader as ledger_queries
from bems_streams.adapters import sqlite_rows as rows
from bems_streams.adapters import sqlite_windows as windows
from bems_streams.adapters.sqlite_pool import ReadPool
from bems_streams.adapters.stores_summary import EXACT, NO_CURRENCY, amount_text, visibility_of
from bems_streams.ports import (
    STORE_AGENT,
    AlertRow,
    Coordinates,
    DeadLetterRow,
    EventKey,
    EventRow,
    Fate,
    InvoiceRow,
    Offsets,
    RatePoint,
    RetryRow,
    Span,
    StageActivity,
    StageStanding,
    StoreCounts,
    Tally,
    Timeline,
    Visibility,
)

_EVENTS: Final = rows.select("events", rows.EVENT)
_INVOICES: Final = rows.select("invoices", rows.INVOICE)
_ALERTS: Final = rows.select("alerts", rows.ALERT)
_DUPLICATES: Final = rows.select("duplicates", rows.DUPLICATE)
_DEAD_LETTERS: Final = rows.select("dead_letters", rows.DEAD_LETTER)
_RETRYING: Final = rows.select("retrying", rows.RETRY)
_BUSINESS_ORDER: Final = "ORDER BY invoice_id, occurred_us, topic, partition, offset"
_NEWEST_LETTERS: Final = "ORDER BY stored_us DESC, topic DESC, partition DESC, offset DESC, agent DESC"
_NEXT_DUE: Final = "ORDER BY not_before_us, topic, partition, offset, agent"
_COUNTS: Final = """
    SELECT (SELECT coalesce(max(sequence), 0) FROM events),
           (SELECT coalesce(max(sequence), 0) FROM duplicates),
           (SELECT count(*) FROM dead_letters WHERE agent = :agent),
           (SELECT coalesce(sum(number), 0) FROM standing),
           (SELECT coalesce(sum(number), 0) FROM standing WHERE stuck = 1),
           (SELECT count(*) FROM retrying WHERE agent = :agent)
"""
_FETCH_ROWS: Final = 1000


class SqliteReader:
    """`StoreReader` over a file. Iterators hold one read transaction until they end or are closed: meanwhile the
    write-ahead log cannot shrink, so consume them without waiting for people.
    """

    def __init__(self, path: Path) -> None:
        self._pool = ReadPool(path)

    def _ask(self, sql: str, *values: object) -> list[rows.Values]:
        with self._pool.snapshot() as connection:
            return [] if connection is None else connection.execute(sql, values).fetchall()

    def exists(self) -> bool:
        """See the port."""
        with self._pool.snapshot() as connection:
            return connection is not None

    def counts(self) -> StoreCounts:
        """See the port."""
        with self._pool.snapshot() as connection:
            if connection is None:
                return StoreCounts(0, 0, 0, 0, 0)
            return StoreCounts(*connection.execute(_COUNTS, {"agent": STORE_AGENT}).fetchone())

    def activity(self, since_us: int, until_us: int) -> Sequence[StageActivity]:
        """See the port."""
        with self._pool.snapshot() as connection:
            if connection is None:
                return []
            sums = windows.activity(connection, since_us, until_us)
        value: defaultdict[str, dict[str, str]] = defaultdict(dict)
        number: Counter[str] = Counter()
        for (stage, currency), found in sorted(sums.items()):
            number[stage] += found.number
            if currency != NO_CURRENCY:
                value[stage][currency] = amount_text(found.value)
        return [StageActivity(stage, events, value[stage]) for stage, events in number.items()]

    def standing(self) -> Sequence[StageStanding]:
        """See the port."""
        found = self._ask("SELECT stage, currency, stuck, number, value FROM standing ORDER BY stage, currency, stuck")
        by_stage: defaultdict[str, list[rows.Values]] = defaultdict(list)
        for stage, *place in found:
            by_stage[stage].append(tuple(place))
        return [_standing(stage, places) for stage, places in by_stage.items()]

    def rates(self, since_us: int, until_us: int, bucket_us: int) -> Sequence[RatePoint]:
        """See the port."""
        with self._pool.snapshot() as connection:
            if connection is None:
                return []
            counted = windows.rates(connection, since_us, until_us, bucket_us)
        return [RatePoint(stage, start_us, number) for (stage, start_us), number in sorted(counted.items())]

    def newest_stored_us(self) -> int | None:
        """See the port."""
        found = self._ask("SELECT stored_us FROM events ORDER BY sequence DESC LIMIT 1")
        return found[0][0] if found else None

    def stored_since(self, sequence: int, limit: int) -> Sequence[tuple[int, int, int]]:
        """See the port."""
        asked = "SELECT sequence, accepted_us, stored_us FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?"
        return [(place, accepted_us, stored_us) for place, accepted_us, stored_us in self._ask(asked, sequence, limit)]

    def visibility(self, since_us: int, until_us: int) -> Visibility:
        """See the port."""
        asked = "SELECT stored_us - accepted_us FROM events WHERE accepted_us >= ? AND accepted_us < ?"
        return visibility_of([delay_us for (delay_us,) in self._ask(asked, since_us, until_us)])

    def timeline(self, invoice_id: str) -> Timeline:
        """See the port."""
        with self._pool.snapshot() as connection:
            return Timeline(None) if connection is None else _timeline(connection, invoice_id)

    def stuck(self, limit: int | None = None) -> Sequence[InvoiceRow]:
        """See the port."""
        asked = f"{_INVOICES} WHERE stuck_since_us IS NOT NULL ORDER BY stuck_since_us, invoice_id LIMIT ?"
        return [InvoiceRow(*values) for values in self._ask(asked, -1 if limit is None else limit)]

    def dead_letters(self, limit: int | None = None) -> Sequence[DeadLetterRow]:
        """See the port."""
        found = self._ask(f"{_DEAD_LETTERS} {_NEWEST_LETTERS} LIMIT ?", -1 if limit is None else limit)
        return [rows.dead_letter_row(values) for values in found]

    def retrying(self, limit: int | None = None) -> Sequence[RetryRow]:
        """See the port."""
        found = self._ask(f"{_RETRYING} {_NEXT_DUE} LIMIT ?", -1 if limit is None else limit)
        return [rows.retry_row(values) for values in found]

    def fate(self, at: Coordinates) -> Fate:
        """See the port."""
        with self._pool.snapshot() as connection:
            return Fate() if connection is None else ledger_queries.fate(connection, at)

    def find(self, keys: Collection[EventKey]) -> Mapping[EventKey, Coordinates]:
        """See the port."""
        with self._pool.snapshot() as connection:
            return {} if connection is None else ledger_queries.find(connection, keys)

    def ledger(self, agent: str, since_us: int, until_us: int) -> Sequence[Span]:
        """See the port."""
        with self._pool.snapshot() as connection:
            return [] if connection is None else ledger_queries.spans(connection, agent, since_us, until_us)

    def ledger_positions(self, agent: str) -> Offsets:
        """See the port."""
        with self._pool.snapshot() as connection:
            return {} if connection is None else ledger_queries.positions(connection, agent)

    def tally(self, spans: Sequence[Span], *, valued: bool = True) -> Sequence[Tally]:
        """See the port."""
        ask = ledger_queries.tally if valued else ledger_queries.number
        with self._pool.snapshot() as connection:
            return [Tally() if connection is None else ask(connection, span) for span in spans]

    def held(self, agent: str, topic: str, partition: int, first_offset: int, next_offset: int) -> Collection[int]:
        """See the port."""
        with self._pool.snapshot() as connection:
            stretch = (agent, topic, partition, first_offset, next_offset)
            return set() if connection is None else set(ledger_queries.held(connection, stretch))

    def rows_outside_ledger(self, agent: str) -> Sequence[Coordinates]:
        """See the port."""
        with self._pool.snapshot() as connection:
            return [] if connection is None else ledger_queries.rows_outside(connection, agent)

    def _walk(self, sql: str) -> Iterator[rows.Values]:
        with self._pool.snapshot() as connection:
            if connection is None:
                return
            cursor = connection.execute(sql)
            while found := cursor.fetchmany(_FETCH_ROWS):
                yield from found

    def events(self) -> Iterator[EventRow]:
        """See the port."""
        return map(rows.event_row, self._walk(f"{_EVENTS} {_BUSINESS_ORDER}"))

    def invoices(self) -> Iterator[InvoiceRow]:
        """See the port."""
        return (InvoiceRow(*values) for values in self._walk(f"{_INVOICES} ORDER BY invoice_id"))

    def close(self) -> None:
        """See the port."""
        self._pool.close()


def _timeline(connection: sqlite3.Connection, invoice_id: str) -> Timeline:
    def ask(sql: str) -> list[rows.Values]:
        return connection.execute(sql, (invoice_id,)).fetchall()

    invoices = [InvoiceRow(*values) for values in ask(f"{_INVOICES} WHERE invoice_id = ?")]
    of_invoice = "WHERE invoice_id = ? ORDER BY"
    return Timeline(
        invoices[0] if invoices else None,
        [rows.event_row(values) for values in ask(f"{_EVENTS} WHERE invoice_id = ? {_BUSINESS_ORDER}")],
        [
            rows.duplicate_row(values)
            for values in ask(f"{_DUPLICATES} {of_invoice} accepted_us, topic, partition, offset")
        ],
        [AlertRow(*values) for values in ask(f"{_ALERTS} {of_invoice} raised_us, deadline_us, stage, kind")],
        [rows.dead_letter_row(values) for values in ask(f"{_DEAD_LETTERS} WHERE invoice_id = ? {_NEWEST_LETTERS}")],
        [rows.retry_row(values) for values in ask(f"{_RETRYING} WHERE invoice_id = ? {_NEXT_DUE}")],
    )


def _standing(stage: str, places: Sequence[rows.Values]) -> StageStanding:
    """`places`: (currency, stuck, number, value), no pair of currency and stuck twice."""
    value: defaultdict[str, Decimal] = defaultdict(Decimal)
    stuck_value: dict[str, str] = {}
    for currency, stuck, _, amount in places:
        if currency == NO_CURRENCY:
            continue
        value[currency] = EXACT.add(value[currency], Decimal(amount))
        if stuck:
            stuck_value[currency] = amount_text(Decimal(amount))
    return StageStanding(
        stage,
        invoices=sum(number for _, _, number, _ in places),
        stuck=sum(number for _, stuck, number, _ in places if stuck),
        unvalued=sum(number for currency, _, number, _ in places if currency == NO_CURRENCY),
        value={currency: amount_text(amount) for currency, amount in value.items()},
        stuck_value=stuck_value,
    )
