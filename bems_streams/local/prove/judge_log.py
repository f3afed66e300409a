"""The judge's memory of the stage topics: for every offset whose event it is, in a few bytes.

Not here: reading them (judge.py), what they are compared with (judge_rows.py).
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator
from decimal import Context, Decimal, InvalidOperation
from typing import Final

from bems_streams.local.prove.reference import PlainEvent
from bems_streams.ports import Coordinates, EventRow, Extent, Place

NOTHING: Final = 0
"""No record: a marker of a transaction, or beyond the log."""
NO_EVENT: Final = 1
"""A record in which no event of this topic can be seen."""
STORED: Final = 1
DEAD: Final = 2
RETRYING: Final = 4
HELD: Final = 8
EXACT: Final = Context(prec=1000)  # sums never round


def key_of(invoice_id: str, event_id: str) -> int:
    """Stands for an event within this process; 64 bits, so that two of a million share one in 40 million proofs."""
    return hash((invoice_id, event_id)) or 2


def content_of(event: PlainEvent) -> int:
    """Stands for what an event says."""
    return hash((event.stage, event.occurred_us, event.accepted_us, event.facts))


def content_of_row(row: EventRow) -> int:
    """The same for what a row says."""
    facts = (
        *(row.payee_code, row.legal_entity_id, row.invoice_date, row.invoice_due_date, row.currency),
        *(row.invoice_amount, row.matched_amount, row.authorized_amount, row.ppv, row.pqv),
    )
    return hash((row.stage, row.occurred_us, row.accepted_us, facts))


class Shelf:
    """One partition of a stage topic."""

    def __init__(self, extent: Extent) -> None:
        size = extent.end - extent.start
        self.extent = extent
        self.start = extent.start
        self.end = extent.end
        self.keys = array("q", bytes(8 * size))
        self.contents = array("q", bytes(8 * size))
        self.outcomes = bytearray(size)
        self.value: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.suspicious = False
        """Something was found here already, which explains sums that differ."""

    def key(self, offset: int) -> int:
        """Of the event at the offset, NOTHING or NO_EVENT."""
        return self.keys[offset - self.start] if self.start <= offset < self.end else NOTHING

    def mark(self, offset: int, outcome: int) -> int:
        """Note what the store holds; returns what was noted before. The offset is in the log."""
        before = self.outcomes[offset - self.start]
        self.outcomes[offset - self.start] = before | outcome
        return before

    def records(self) -> Iterator[tuple[int, int, int]]:
        """(offset, key, outcomes) of every record."""
        for place, (key, outcomes) in enumerate(zip(self.keys, self.outcomes, strict=True)):
            if key != NOTHING:
                yield self.start + place, key, outcomes


class LogIndex:
    """All partitions of all stage topics."""

    def __init__(self, shelves: dict[Place, Shelf]) -> None:
        self.shelves = shelves

    def put(self, at: Coordinates, event: PlainEvent | None) -> None:
        """Note a record of the log."""
        shelf = self.shelves[at.topic, at.partition]
        place = at.offset - shelf.start
        if event is None:
            shelf.keys[place] = NO_EVENT
            return
        shelf.keys[place] = key_of(event.invoice_id, event.event_id)
        shelf.contents[place] = content_of(event)

    def count_value(self, at: Coordinates, event: PlainEvent) -> None:
        """Add what an accepted event is worth; nothing, when what it says is no amount."""
        currency, text = event.fact("currency"), event.fact("invoice_amount")
        if not currency or text is None:
            return
        value = self.shelves[at.topic, at.partition].value
        try:
            value[currency] = EXACT.add(value[currency], Decimal(text))
        except InvalidOperation:
            value[text] += 1  # adds up with nothing that a store can hold

    def shelf(self, at: Coordinates) -> Shelf | None:
        """The partition of these coordinates; None when no stage topic has it."""
        return self.shelves.get((at.topic, at.partition))

    def key(self, at: Coordinates) -> int:
        """Whose event stands there."""
        shelf = self.shelf(at)
        return NOTHING if shelf is None else shelf.key(at.offset)
