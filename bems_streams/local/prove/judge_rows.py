"""Every record of the log against the rows of the store, both ways: nothing lost, nothing twice, nothing changed.

Not here: states (judge_states.py), dead letters' bytes (judge_letters.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Final

from bems_streams.local.prove.evidence import MAX_NAMED, SINK, Evidence, Findings, Progress, Totals
from bems_streams.local.prove.judge_log import (
    DEAD,
    EXACT,
    HELD,
    NOTHING,
    RETRYING,
    STORED,
    LogIndex,
    Shelf,
    content_of_row,
    key_of,
)
from bems_streams.local.prove.reference import FACTS, PlainEvent, read_event
from bems_streams.ports import Coordinates, DeadLetterRow, EventRow, Extent, Place, RetryRow, Span

FIND_AT_ONCE: Final = 500
SHOW_EVERY: Final = 20_000
FOREVER: Final = 2**62


@dataclass
class RowJudge:
    """Compares in three steps: `stored`, `set_aside`, `account`; call them in this order."""

    evidence: Evidence
    index: LogIndex
    findings: Findings
    totals: Totals
    progress: Progress
    _keys: set[int] = field(default_factory=set)

    def stored(self) -> None:
        """Each stored event is in the log where it says, once, with what it says, and is found by its id."""
        rows, done = self.evidence.store.events(), 0
        total = sum(len(shelf.keys) for shelf in self.index.shelves.values())
        while batch := list(islice(rows, FIND_AT_ONCE)):
            for row in batch:
                self._stored(row)
            found = self.evidence.store.find([(row.invoice_id, row.event_id) for row in batch])
            for row in batch:
                at = found.get((row.invoice_id, row.event_id))
                if at is None:
                    self._add("G1", "the event is stored, but cannot be found by its id", row)
                elif at != row.at:
                    self._add("G2", f"the event is found by its id at {'/'.join(map(str, at))} as well", row)
            done += len(batch)
            if done % SHOW_EVERY == 0:
                self.progress("rows against the log", done, total)

    def _stored(self, row: EventRow) -> None:
        shelf, key = self.index.shelf(row.at), key_of(row.invoice_id, row.event_id)
        there = NOTHING if shelf is None else shelf.key(row.at.offset)
        if shelf is None or there != key:
            other = "no record" if there == NOTHING else "another event"
            self._add("G2", f"the store has a row of this event, but the log holds {other} at its coordinates", row)
            return
        shelf.mark(row.at.offset, STORED)
        if key in self._keys:
            shelf.suspicious = True
            self._add("G2", "the event is stored twice", row)
        elif shelf.contents[row.at.offset - shelf.start] != content_of_row(row):
            shelf.suspicious = True
            self._add("G10", f"the row does not say what was accepted: {self._difference(row)}", row)
        self._keys.add(key)

    def set_aside(self) -> None:
        """Dead letters and what still waits, as the store shows them, of records that are in the log."""
        rows: Sequence[DeadLetterRow | RetryRow] = [
            *self.evidence.store.dead_letters(),
            *self.evidence.store.retrying(),
        ]
        for row in rows:
            outcome = DEAD if isinstance(row, DeadLetterRow) else RETRYING
            if outcome is RETRYING:
                self._add("G8", f"still waits in a lane of the {row.agent}: {row.code}: {row.reason}", row)
            shelf = self.index.shelf(row.at)
            if row.agent != SINK or shelf is None:
                continue
            if shelf.key(row.at.offset) == NOTHING:
                self._add("G2", "the store has a note of a record that is in no log", row)
            elif before := shelf.mark(row.at.offset, outcome):
                shelf.suspicious = True
                self._add("G2", f"the record is {_words(outcome)} and {_words(before)} at once", row)

    def account(self) -> None:
        """Every record of the log has exactly one outcome, and the store's own counts say the same."""
        for place, shelf in self.index.shelves.items():
            held = self.evidence.store.held(SINK, *place, 0, FOREVER)
            self._mark_held(place, shelf, held)
            counts = dict.fromkeys((STORED, DEAD, RETRYING, HELD), 0)
            for offset, key, outcomes in shelf.records():
                if not outcomes:
                    self._lost(place, shelf, offset, "accepted, but the store has no row of it")
                    continue
                counts[next(bit for bit in counts if outcomes & bit)] += 1
                if outcomes == HELD and key not in self._keys:
                    self._lost(place, shelf, offset, "noted as a duplicate, but the event itself is not stored")
            totals = self.totals
            totals.accepted += sum(counts.values())
            totals.stored += counts[STORED]
            totals.duplicates += counts[HELD]
            totals.dead_lettered += counts[DEAD]
            totals.retrying += counts[RETRYING]
            self._compare_sums(place, shelf, counts)
        self.totals.accepted += self.totals.missing

    def _mark_held(self, place: Place, shelf: Shelf, held: Collection[int]) -> None:
        for offset in held:
            if shelf.key(offset) == NOTHING:
                self.findings.add(
                    "G2", "the store has a row of a record that is in no log", Coordinates(*place, offset)
                )
            else:
                shelf.mark(offset, HELD)

    def _lost(self, place: Place, shelf: Shelf, offset: int, what: str) -> None:
        shelf.suspicious = True
        at = Coordinates(*place, offset)
        if "no row" in what:
            self.totals.missing += 1
        event = self._event_at(at) if self.findings.counts["G1"] < MAX_NAMED else None
        ids = (None, None) if event is None else (event.event_id, event.invoice_id)
        self.findings.add("G1", what, at, *ids)

    def _compare_sums(self, place: Place, shelf: Shelf, counts: Mapping[int, int]) -> None:
        """What the rows read one by one do not show (duplicates, their amounts), from the store's own sums."""
        (tally,) = self.evidence.store.tally([Span(SINK, *place, shelf.start, shelf.end, 0, 0, 0, 0, 0, {})])
        add_values(self.totals.value_accepted, {currency: str(value) for currency, value in shelf.value.items()})
        add_values(self.totals.value_stored, tally.value)
        if shelf.suspicious:
            return
        found = (tally.stored, tally.dead_lettered, tally.retrying, tally.duplicates)
        if found != tuple(counts.values()):
            where = f"{place[0]}[{place[1]}]: of stored, dead-lettered, retrying, duplicates the store counts"
            self.findings.add("G2", f"{where} {found}, of records there are {tuple(counts.values())}")
        value = {currency: Decimal(text) for currency, text in tally.value.items() if Decimal(text)}
        if value != {currency: amount for currency, amount in shelf.value.items() if amount}:
            where = f"{place[0]}[{place[1]}]: accepted amounts are"
            self.findings.add("G10", f"{where} {_amounts(shelf.value)}, those of the rows {_amounts(value)}")

    def _event_at(self, at: Coordinates) -> PlainEvent | None:
        """Read again what the log holds there: only for what is named."""
        span = {(at.topic, at.partition): Extent(at.offset, at.offset + 1)}
        record = next(iter(self.evidence.log.read(span)), None)
        return None if record is None else read_event(record.value, record.accepted_us)

    def _difference(self, row: EventRow) -> str:
        event = self._event_at(row.at)
        if event is None:
            return "the log has no event there any more"
        said = {"stage": event.stage, "occurred_us": event.occurred_us, "accepted_us": event.accepted_us}
        said |= dict(zip(FACTS, event.facts, strict=True))
        return ", ".join(
            f"{name} is {getattr(row, name)!r}, was {value!r}"
            for name, value in said.items()
            if getattr(row, name) != value
        )

    def _add(self, guarantee: str, what: str, row: EventRow | DeadLetterRow | RetryRow) -> None:
        self.findings.add(guarantee, what, row.at, row.event_id, row.invoice_id)


def add_values(sums: dict[str, str], more: Mapping[str, str]) -> None:
    """Add amounts by currency, exactly."""
    for currency, text in more.items():
        sums[currency] = format(EXACT.add(Decimal(sums.get(currency, "0")), Decimal(text)), "f")


def _amounts(value: Mapping[str, Decimal]) -> str:
    return " ".join(f"{amount:f} {currency}" for currency, amount in sorted(value.items())) or "none"


def _words(outcomes: int) -> str:
    names = {STORED: "stored", DEAD: "dead-lettered", RETRYING: "waiting in a lane"}
    return " and ".join(name for bit, name in names.items() if outcomes & bit)
