"""A cell's store as finance and operations meet it: invoices in all stages, some stuck, some records given up."""

import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import count

from bems_streams.ports import AlertRow, Coordinates, DeadLetterRow, EventRow, InvoiceRow, StoreBatch

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
STAGES = ("ingestion", "reconciliation", "authorization", "posting")
LIMITS_US = {"ingestion": DAY_US, "reconciliation": 5 * DAY_US, "authorization": 3 * DAY_US}
ACTIVITIES = {
    "ingestion": ("received", "scanned", "validated"),
    "reconciliation": ("matched to order", "goods receipt posted", "price checked"),
    "authorization": ("approval requested", "approved"),
    "posting": ("posted", "paid"),
}
CURRENCIES = ("EUR", "USD", "GBP", "JPY")
HOSTILE_ID = "<img src=x onerror=window.hacked=1>"


class Cell:
    """Makes rows with log positions that go on counting."""

    def __init__(self, now_us: int, seed: int = 7) -> None:
        self.now_us = now_us
        self._random = random.Random(seed)
        self._offsets = {stage: count() for stage in STAGES}
        self._events = count(1)

    def event(self, invoice_id: str, stage: str, accepted_us: int, **facts: str | None) -> EventRow:
        """One stored event, visible some milliseconds after it was accepted."""
        at = Coordinates(f"invoices.{stage}", 0, next(self._offsets[stage]))
        return EventRow(
            event_id=f"ev-{next(self._events)}",
            invoice_id=invoice_id,
            stage=stage,
            source=self._random.choice(("erp-eu", "erp-us", "portal")),
            occurred_us=accepted_us - self._random.randrange(5 * SECOND_US),
            accepted_us=accepted_us,
            stored_us=min(accepted_us + self._random.randrange(60_000, 420_000), self.now_us),
            at=at,
            activity=self._random.choice(ACTIVITIES[stage]),
            **facts,
        )

    def history(self, number: int, reached: int, entered_us: int) -> tuple[list[EventRow], InvoiceRow]:
        """An invoice that passed its stages one after another and entered the stage `reached` at `entered_us`."""
        currency = self._random.choice(CURRENCIES)
        cents = Decimal(self._random.randrange(5_000, 90_000_000)) / (1 if currency == "JPY" else 100)
        facts: dict[str, str | None] = {
            "payee_code": f"P-{self._random.randrange(100, 160)}",
            "legal_entity_id": self._random.choice(("DE01", "US10", "GB02", "JP05")),
            "invoice_date": "2026-10-01",
            "invoice_due_date": "2026-11-30",
            "invoice_amount": str(cents),
            "currency": currency,
        }
        invoice_id = f"INV-2026-{number:06d}"
        events = [
            self.event(
                invoice_id, STAGES[place], entered_us - (reached - place) * 9 * HOUR_US - step * HOUR_US, **facts
            )
            for place in range(reached + 1)
            for step in ((2, 1, 0) if place < reached else (0,))
        ]
        return events, self.state(invoice_id, STAGES[reached], entered_us, events, facts)

    def state(
        self, invoice_id: str, stage: str, entered_us: int, events: list[EventRow], facts: dict[str, str | None]
    ) -> InvoiceRow:
        """The invoice's newest state; stuck when its limit has passed."""
        deadline_us = entered_us + LIMITS_US[stage] if stage in LIMITS_US else None
        overdue = deadline_us is not None and deadline_us <= self.now_us
        return InvoiceRow(
            invoice_id=invoice_id,
            revision=len(events),
            status="closed" if stage == "posting" else "open",
            stage=stage,
            entered_us=entered_us,
            last_occurred_us=events[-1].occurred_us,
            updated_us=events[-1].stored_us,
            deadline_us=deadline_us,
            stuck_since_us=deadline_us if overdue else None,
            events=len(events),
            document="{}",
            **{name: facts.get(name) for name in facts if name != "invoice_date"},
        )

    def alerts(self, row: InvoiceRow) -> Iterator[AlertRow]:
        """The alert of a stuck invoice."""
        if row.stuck_since_us is not None and row.deadline_us is not None:
            reason = f'{{"reason":"over the limit of {row.stage}"}}'
            yield AlertRow(row.invoice_id, row.stage, row.deadline_us, "stuck", row.deadline_us + SECOND_US, reason)


def realistic(now_us: int) -> StoreBatch:
    """Four stages with traffic in the last minutes, 60 stuck invoices, a hostile id, duplicates, dead letters."""
    cell = Cell(now_us)
    picks = random.Random(11)
    events: list[EventRow] = []
    invoices: list[InvoiceRow] = []
    for number in range(900):
        reached = picks.choice((0, 1, 1, 2, 3, 3))
        if number < 60:
            reached = picks.choice((0, 1, 1, 2))
            age_us = LIMITS_US[STAGES[reached]] + picks.randrange(10 * SECOND_US, 6 * DAY_US)
        else:
            age_us = int(170 * SECOND_US * picks.random() ** 1.3) + 300_000
        found, row = cell.history(number, reached, now_us - age_us)
        events += found
        invoices.append(row)
    hostile = cell.event(HOSTILE_ID, "ingestion", now_us - 2 * DAY_US, invoice_amount="0.10", currency="EUR")
    facts: dict[str, str | None] = {"invoice_amount": "0.10", "currency": "EUR", "payee_code": "<b>bold</b>"}
    events.append(hostile)
    invoices.append(cell.state(HOSTILE_ID, "ingestion", hostile.accepted_us, [hostile], facts))
    twice = [row._replace(at=row.at._replace(partition=1)) for row in events[40:52]]
    return StoreBatch(
        events=[*sorted(events, key=lambda row: row.stored_us), *twice],
        invoices=invoices,
        alerts=[alert for row in invoices for alert in cell.alerts(row)],
        dead_letters=[
            DeadLetterRow(
                Coordinates("invoices.ingestion", 3, offset),
                "sink",
                code,
                reason,
                now_us - age_us,
                now_us - age_us + 90_000,
            )
            for offset, (code, reason, age_us) in enumerate(
                (
                    ("invalid_event", "invoice_amount: at most 6 decimal places; currency: required", 40 * SECOND_US),
                    ("not_json", "not valid JSON: unexpected end of input", 3 * HOUR_US),
                    ("wrong_key", "key <script>window.hacked=1</script> is not the invoice id", 26 * HOUR_US),
                ),
                start=100,
            )
        ],
    )
