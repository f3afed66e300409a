"""Questions about the ledger, and about the rows it is compared with.

Rows are counted from their own tables, never from the ledger, so that the two can contradict each other.
Not here: connections (sqlite_pool.py), the ledger's upkeep (sqlite_ledger.py).
"""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from bems_streams.adapters import sqlite_rows as rows
from bems_streams.adapters.stores_ledger import Line
from bems_streams.adapters.stores_records import Record, tally_of
from bems_streams.adapters.stores_summary import valued
from bems_streams.ports import STORE_AGENT, Coordinates, EventKey, EventRow, Fate, Place, RecordOutcome, Span, Tally

MOST_OUTSIDE: Final = 1_000
_BEYOND: Final = 2**63 - 1
_LEDGER: Final = rows.select("ledger", rows.SPAN)
_EVENTS: Final = rows.select("events", rows.EVENT)
_DUPLICATES: Final = rows.select("duplicates", rows.DUPLICATE)
_LETTERS: Final = rows.select("dead_letters", rows.DEAD_LETTER)
_RETRYING: Final = rows.select("retrying", rows.RETRY)
_AT: Final = "WHERE topic = ? AND partition = ? AND offset = ?"

_OWN_ROWS: Final = {"events": RecordOutcome.STORED, "duplicates": RecordOutcome.DUPLICATE}
_NOTES: Final = {"dead_letters": RecordOutcome.DEAD_LETTERED, "retrying": RecordOutcome.RETRYING}
_LAST: Final = (
    "SELECT next_offset FROM ledger WHERE agent = ? AND topic = ? AND partition = ? ORDER BY first_offset DESC LIMIT 1"
)

Stretch = tuple[str, str, int, int, int]
"""(agent, topic, partition, first offset, next offset)."""


def spans(connection: sqlite3.Connection, agent: str, since_us: int, until_us: int) -> Sequence[Span]:
    """See StoreReader.ledger."""
    within = "agent = ? AND minute_us >= ? AND minute_us < ?"
    asked = f"{_LEDGER} INDEXED BY ledger_by_minute WHERE {within} ORDER BY topic, partition, first_offset"
    return [rows.span_row(values) for values in connection.execute(asked, (agent, since_us, until_us))]


def positions(connection: sqlite3.Connection, agent: str) -> Mapping[Place, int]:
    """See StoreReader.ledger_positions."""
    places = _places(connection, "ledger", "agent = :agent", agent)
    return {place: connection.execute(_LAST, (agent, *place)).fetchone()[0] for place in places}


def fate(connection: sqlite3.Connection, at: Coordinates) -> Fate:
    """See StoreReader."""

    def ask(sql: str, values: Collection[object] = at) -> list[rows.Values]:
        return connection.execute(sql, tuple(values)).fetchall()

    event, duplicate = _first(ask(f"{_EVENTS} {_AT}")), None
    found = ask(f"{_DUPLICATES} {_AT}") if event is None else []
    if found:
        duplicate = rows.duplicate_row(found[0])
        key = (duplicate.invoice_id, duplicate.event_id)
        event = _first(ask(f"{_EVENTS} WHERE invoice_id = ? AND event_id = ?", key))
    letters = [rows.dead_letter_row(values) for values in ask(f"{_LETTERS} {_AT} ORDER BY agent")]
    retrying = [rows.retry_row(values) for values in ask(f"{_RETRYING} {_AT} ORDER BY agent")]
    return Fate(event, duplicate, letters, retrying)


def _first(found: Sequence[rows.Values]) -> EventRow | None:
    return rows.event_row(found[0]) if found else None


def find(connection: sqlite3.Connection, keys: Collection[EventKey]) -> Mapping[EventKey, Coordinates]:
    """See StoreReader."""
    asked = "SELECT topic, partition, offset FROM events WHERE invoice_id = ? AND event_id = ?"
    found = ((key, connection.execute(asked, key).fetchone()) for key in keys)
    return {key: Coordinates(*at) for key, at in found if at is not None}


def records(connection: sqlite3.Connection, stretch: Stretch) -> Iterator[tuple[int, Record]]:
    """(offset, record) for every row of the agent in the stretch, from the rows' own tables."""
    for table, outcome in _tables(stretch[0]).items():
        asked = f"SELECT offset, accepted_us, currency, invoice_amount FROM {table} WHERE {_stretch(table)}"  # noqa: S608 names of ours
        for offset, accepted_us, currency, amount in connection.execute(asked, _bound(*stretch)):
            yield offset, (accepted_us, outcome, valued(currency, amount))


def tally(connection: sqlite3.Connection, span: Span) -> Tally:
    """See StoreReader."""
    found = [record for _, record in records(connection, span[:5])]
    return tally_of(found)


def number(connection: sqlite3.Connection, span: Span) -> Tally:
    """As `tally`, without amounts: answered from indexes alone, 0.05 µs a row instead of 1.4."""
    counted = {
        outcome: connection.execute(
            f"SELECT count(*) FROM {table} WHERE {_stretch(table)}",  # noqa: S608 names of ours
            _bound(*span[:5]),
        ).fetchone()[0]
        for table, outcome in _tables(span.agent).items()
    }
    return Tally(
        stored=counted.get(RecordOutcome.STORED, 0),
        duplicates=counted.get(RecordOutcome.DUPLICATE, 0),
        dead_lettered=counted[RecordOutcome.DEAD_LETTERED],
        retrying=counted[RecordOutcome.RETRYING],
    )


def held(connection: sqlite3.Connection, stretch: Stretch, limit: int = -1) -> Sequence[int]:
    """See StoreReader; in order."""
    asked = " UNION ".join(
        f"SELECT offset FROM {table} WHERE {_stretch(table)}"  # noqa: S608 names of ours
        for table in _tables(stretch[0])
    )
    bound = _bound(*stretch) | {"limit": limit}
    return [offset for (offset,) in connection.execute(f"{asked} ORDER BY offset LIMIT :limit", bound)]


def rows_outside(connection: sqlite3.Connection, agent: str) -> Sequence[Coordinates]:
    """See StoreReader. Looks into the holes of the ledger, not at every row."""
    places = {
        place
        for table in _tables(agent)
        for place in _places(connection, table, "agent = :agent" if table in _NOTES else "true", agent)
    }
    found: list[Coordinates] = []
    for topic, partition in sorted(places):
        line = (agent, topic, partition)
        for first, until in _holes(connection, line):
            offsets = held(connection, (*line, first, until), MOST_OUTSIDE - len(found))
            found += [Coordinates(topic, partition, offset) for offset in offsets]
    return found


def _holes(connection: sqlite3.Connection, line: Line) -> Iterator[tuple[int, int]]:
    """What lies before, between and after the spans. A window function takes twice as long as this loop."""
    asked = "SELECT first_offset, next_offset FROM ledger WHERE agent = ? AND topic = ? AND partition = ? ORDER BY 1"
    end = 0
    for first, until in connection.execute(asked, line):
        if end < first:
            yield end, first
        end = until
    yield end, _BEYOND


def _tables(agent: str) -> dict[str, RecordOutcome]:
    """Tables with rows of the agent, and how the ledger counts them."""
    return _OWN_ROWS | _NOTES if agent == STORE_AGENT else _NOTES


def _stretch(table: str) -> str:
    of_agent = "agent = :agent AND " if table in _NOTES else ""
    return f"{of_agent}topic = :topic AND partition = :partition AND offset >= :first AND offset < :until"


def _bound(agent: str, topic: str, partition: int, first: int, until: int) -> dict[str, Any]:
    return {"agent": agent, "topic": topic, "partition": partition, "first": first, "until": until}


def _places(connection: sqlite3.Connection, table: str, which: str, agent: str) -> Iterator[Place]:
    """Every (topic, partition) of a table that is indexed by them, at one step each: DISTINCT would read every row."""
    asked = f"""
        SELECT topic, partition FROM {table} WHERE {which} AND (topic, partition) > (:topic, :partition)
        ORDER BY topic, partition LIMIT 1
    """  # noqa: S608 names of ours
    place = ("", -1)
    while found := connection.execute(asked, {"agent": agent, "topic": place[0], "partition": place[1]}).fetchone():
        place = (found[0], found[1])
        yield place
