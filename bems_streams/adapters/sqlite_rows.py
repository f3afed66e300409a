"""How the port's rows stand in SQLite's columns: same names, with coordinates spread over three columns.

Not here: statements that are about more than one row's shape.
"""

import json
from typing import Any, Final

from bems_streams.ports import AlertRow, Coordinates, DeadLetterRow, DuplicateRow, EventRow, InvoiceRow, RetryRow, Span

Columns = tuple[str, ...]
Values = tuple[Any, ...]

_AT: Final = EventRow._fields.index("at")
_AFTER: Final = _AT + len(Coordinates._fields)

EVENT: Final[Columns] = (*EventRow._fields[:_AT], *Coordinates._fields, *EventRow._fields[_AT + 1 :])
DUPLICATE: Final[Columns] = (*Coordinates._fields, *DuplicateRow._fields[1:])
DEAD_LETTER: Final[Columns] = (*Coordinates._fields, *DeadLetterRow._fields[1:])
RETRY: Final[Columns] = (*Coordinates._fields, *RetryRow._fields[1:])
INVOICE: Final[Columns] = InvoiceRow._fields
ALERT: Final[Columns] = AlertRow._fields
SPAN: Final[Columns] = Span._fields


def insert(table: str, columns: Columns) -> str:
    """An INSERT with one placeholder per column, to be followed by what happens on conflict."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 names of ours


def select(table: str, columns: Columns) -> str:
    """A SELECT, to be followed by which rows and in which order."""
    return f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 names of ours


def event_values(row: EventRow) -> Values:
    """In the order of EVENT."""
    return row[:_AT] + row.at + row[_AT + 1 :]


def event_row(values: Values) -> EventRow:
    """The inverse of `event_values`."""
    return EventRow._make((*values[:_AT], Coordinates(*values[_AT:_AFTER]), *values[_AFTER:]))


def duplicate_row(values: Values) -> DuplicateRow:
    """From columns in the order of DUPLICATE."""
    return DuplicateRow(Coordinates(*values[:3]), *values[3:])


def note_values(row: DuplicateRow | DeadLetterRow | RetryRow) -> Values:
    """In the order of DUPLICATE, DEAD_LETTER or RETRY."""
    return (*row.at, *row[1:])


def dead_letter_row(values: Values) -> DeadLetterRow:
    """From columns in the order of DEAD_LETTER."""
    return DeadLetterRow(Coordinates(*values[:3]), *values[3:])


def retry_row(values: Values) -> RetryRow:
    """From columns in the order of RETRY."""
    return RetryRow(Coordinates(*values[:3]), *values[3:])


def span_values(span: Span) -> Values:
    """In the order of SPAN."""
    return (*span[:-1], json.dumps(span.value))


def span_row(values: Values) -> Span:
    """The inverse of `span_values`."""
    return Span._make((*values[:-1], json.loads(values[-1])))
