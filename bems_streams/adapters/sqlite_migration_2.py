"""What makes a file of version 2: lanes, amounts on every row, and the ledger, also of what was stored before.

A migration is history: whatever the rest of the program becomes, this file stays as it is, and uses nothing of it that
may change. Not here: when it runs (sqlite_schema.py).
"""

import json
import sqlite3
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any, Final

TABLES: Final = (
    "ALTER TABLE duplicates ADD COLUMN currency TEXT",
    "ALTER TABLE duplicates ADD COLUMN invoice_amount TEXT",
    # Version 1 did not keep a duplicate's own amount. The event that it repeats says the same, unless somebody sent
    # another amount under the same id.
    """
    UPDATE duplicates SET (currency, invoice_amount) = (
        SELECT currency, invoice_amount FROM events
        WHERE events.invoice_id = duplicates.invoice_id AND events.event_id = duplicates.event_id
    )
    """,
    "ALTER TABLE dead_letters ADD COLUMN event_id TEXT",
    "ALTER TABLE dead_letters ADD COLUMN currency TEXT",
    "ALTER TABLE dead_letters ADD COLUMN invoice_amount TEXT",
    "CREATE INDEX dead_letters_by_agent ON dead_letters (agent, topic, partition, offset)",
    """
    CREATE TABLE retrying (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, agent TEXT NOT NULL,
        code TEXT NOT NULL, reason TEXT NOT NULL, attempts INTEGER NOT NULL, not_before_us INTEGER NOT NULL,
        accepted_us INTEGER NOT NULL, stored_us INTEGER NOT NULL,
        invoice_id TEXT, event_id TEXT, currency TEXT, invoice_amount TEXT,
        PRIMARY KEY (topic, partition, offset, agent)
    ) STRICT
    """,
    "CREATE INDEX retrying_by_agent ON retrying (agent, topic, partition, offset)",
    "CREATE INDEX retrying_by_time ON retrying (not_before_us, topic, partition, offset, agent)",
    "CREATE INDEX retrying_by_invoice ON retrying (invoice_id) WHERE invoice_id IS NOT NULL",
    # Spans of one agent, topic and partition never overlap. `value` is a JSON object: currency -> exact decimal text.
    """
    CREATE TABLE ledger (
        agent TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
        first_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL, minute_us INTEGER NOT NULL,
        stored INTEGER NOT NULL, duplicates INTEGER NOT NULL,
        dead_lettered INTEGER NOT NULL, retrying INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (agent, topic, partition, first_offset)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX ledger_by_minute ON ledger (agent, minute_us)",
)

_ROWS: Final = """
    SELECT topic, partition, offset, accepted_us, 0 AS outcome, currency, invoice_amount FROM events
    UNION ALL SELECT topic, partition, offset, accepted_us, 1, currency, invoice_amount FROM duplicates
    UNION ALL SELECT topic, partition, offset, accepted_us, 2, NULL, NULL FROM dead_letters WHERE agent = 'sink'
    ORDER BY topic, partition, offset
"""
_SPAN: Final = "INSERT INTO ledger VALUES ('sink', ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
_MINUTE_US: Final = 60_000_000
_EXACT: Final = Context(prec=1000)
_CENTS: Final = Decimal("0.01")


def account_for_rows(connection: sqlite3.Connection) -> None:
    """The sink's spans of all rows there are: one for each minute, broken where an offset has no row."""
    connection.executemany(_SPAN, _spans(connection))


def _spans(connection: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    place, first, until, minute_us = ("", 0), 0, -1, 0
    counts, sums = [0, 0, 0], dict[str, Decimal]()
    for topic, partition, offset, accepted_us, outcome, currency, amount in connection.execute(_ROWS):
        goes_on = offset < until or (offset == until and accepted_us // _MINUTE_US * _MINUTE_US == minute_us)
        if place != (topic, partition) or not goes_on:
            if until >= 0:
                yield (*place, first, until, minute_us, *counts, _value(sums))
            place, first, minute_us = (topic, partition), offset, accepted_us // _MINUTE_US * _MINUTE_US
            counts, sums = [0, 0, 0], {}
        until = offset + 1
        counts[outcome] += 1
        if currency and amount is not None:
            sums[currency] = _EXACT.add(sums.get(currency, Decimal(0)), Decimal(amount))
    if until >= 0:
        yield (*place, first, until, minute_us, *counts, _value(sums))


def _value(sums: dict[str, Decimal]) -> str:
    return json.dumps({currency: _text(amount) for currency, amount in sorted(sums.items())})


def _text(amount: Decimal) -> str:
    """At least two decimals, no further trailing zeros."""
    shortest = amount.normalize(_EXACT)
    exponent = shortest.as_tuple().exponent
    if isinstance(exponent, int) and exponent > -2:
        shortest = shortest.quantize(_CENTS, context=_EXACT)
    return format(shortest if shortest else abs(shortest), "f")
