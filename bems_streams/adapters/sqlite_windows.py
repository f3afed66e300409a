"""Questions about a window of acceptance time: whole seconds from the sums, the seconds cut at its edges from the rows.

Not here: the sums' upkeep (sqlite_totals.py), the port's answers (sqlite_reader.py).
"""

import sqlite3
from collections import Counter, defaultdict
from decimal import Decimal
from typing import NamedTuple

from bems_streams.adapters.sqlite_totals import Sum
from bems_streams.adapters.stores_summary import EXACT, SECOND_US, valued


class Window(NamedTuple):
    """A window in parts. `first` inclusive, `until` exclusive, in whole seconds; edges in microseconds."""

    first_second: int
    until_second: int
    edges_us: tuple[tuple[int, int], ...]


def split(since_us: int, until_us: int) -> Window:
    """Whole seconds, and what is left of the window before and after them."""
    first, until = -(-since_us // SECOND_US), until_us // SECOND_US
    if first >= until:
        return Window(0, 0, ((since_us, until_us),))
    return Window(first, until, ((since_us, first * SECOND_US), (until * SECOND_US, until_us)))


def activity(connection: sqlite3.Connection, since_us: int, until_us: int) -> dict[tuple[str, str], Sum]:
    """Number and value of events by stage and currency."""
    window = split(since_us, until_us)
    sums: defaultdict[tuple[str, str], Sum] = defaultdict(lambda: Sum(0, Decimal(0)))

    def add(stage: str, currency: str, number: int, value: Decimal) -> None:
        known = sums[stage, currency]
        sums[stage, currency] = Sum(known.number + number, EXACT.add(known.value, value))

    asked = "SELECT stage, currency, number, value FROM activity WHERE second >= ? AND second < ?"
    for stage, currency, number, value in connection.execute(asked, (window.first_second, window.until_second)):
        add(stage, currency, number, Decimal(value))
    for edge in window.edges_us:
        asked = "SELECT stage, currency, invoice_amount FROM events WHERE accepted_us >= ? AND accepted_us < ?"
        for stage, currency, amount in connection.execute(asked, edge):
            add(stage, *_one(currency, amount))
    return sums


def _one(currency: str | None, amount: str | None) -> tuple[str, int, Decimal]:
    known_currency, value = valued(currency, amount)
    return known_currency, 1, value


def rates(connection: sqlite3.Connection, since_us: int, until_us: int, bucket_us: int) -> Counter[tuple[str, int]]:
    """Number of events by stage and start of the bucket."""
    whole_seconds = bucket_us % SECOND_US == 0
    window = split(since_us, until_us) if whole_seconds else Window(0, 0, ((since_us, until_us),))
    counted: Counter[tuple[str, int]] = Counter()
    asked = (
        "SELECT stage, second * 1000000 - second * 1000000 % ? AS start, sum(number) FROM activity "
        "WHERE second >= ? AND second < ? GROUP BY 1, 2"
    )
    for stage, start_us, number in connection.execute(asked, (bucket_us, window.first_second, window.until_second)):
        counted[stage, start_us] += number
    for edge in window.edges_us:
        asked = (
            "SELECT stage, accepted_us - accepted_us % ? AS start, count(*) FROM events "
            "WHERE accepted_us >= ? AND accepted_us < ? GROUP BY 1, 2"
        )
        for stage, start_us, number in connection.execute(asked, (bucket_us, *edge)):
            counted[stage, start_us] += number
    return counted
