"""How the port's rows stand in SQLite's columns: same names, with coordinates spread over three columns.

Not here: statements that are about more than one row's shape.
"""

from typing import Any, Final

from bems_streams.ports import AlertRow, Coordinates, DeadLetterRow, DuplicateRow, EventRow, InvoiceRow

Columns = tuple[str, ...]
Values = tuple[Any, ...]

_AT: Final = EventRow._fields.index("at")
_AFTER: Final = _AT + len(Coordinates._fields)

EVENT: Final[Columns] = (*EventRow._fields[:_AT], *Coordinates._fields, *EventRow._fields[_AT + 1 :])
DUPLICATE: Final[Columns] = (*Coordinates._fields, *DuplicateRow._fields[1:])
DEAD_LETTER: Final[Columns] = (*Coordinates._fields, *DeadLetterRow._fields[1:])
INVOICE: Final[Columns] = InvoiceRow._fields
ALERT: Final[Columns] = AlertRow._fields


def insert(table: str, columns: Columns) -> str:
    """An INSERT with one placeholder per column, to be followed by what happens on conflict."""
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 names of ours


def select(table: str, columns: Columns) -> str:
    """A SELECT, to be followed by which rows and in which order."""
    return f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 names of ours


def event_values(row: EventRow) -> Values:
    """In the order of EVENT."""
    return (*row[:_AT], *row.at, *row[_AT + 1 :])


def event_row(values: Values) -> EventRow:
    """The inverse of `event_values`."""
    return EventRow._make((*values[:_AT], Coordinates(*values[_AT:_AFTER]), *values[_AFTER:]))


def duplicate_row(values: Values) -> DuplicateRow:
    """From columns in the order of DUPLICATE."""
    return DuplicateRow(Coordinates(*values[:3]), *values[3:])


def dead_letter_values(row: DeadLetterRow) -> Values:
    """In the order of DEAD_LETTER."""
    return (*row.at, *row[1:])


def dead_letter_row(values: Values) -> DeadLetterRow:
    """The inverse of `dead_letter_values`."""
    return DeadLetterRow(Coordinates(*values[:3]), *values[3:])
