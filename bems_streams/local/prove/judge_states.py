"""The state that topic and store show of every invoice, against the independent fold.

Not here: the fold (reference.py), alerts (judge_alerts.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import msgspec

from bems_streams.local.prove.evidence import Findings
from bems_streams.local.prove.reference import Expected, shown
from bems_streams.ports import InvoiceRow

_read = msgspec.json.Decoder(dict[str, Any]).decode


class ShownRow(NamedTuple):
    """An invoice as the store shows it; its document as a hash, to keep a hundred thousand of them."""

    row: InvoiceRow
    document: int


class ShownState(NamedTuple):
    """An invoice as the newest record of the status topic shows it."""

    revision: int
    stuck_since: str | None
    state: Expected


def rows_of(invoices: Iterable[InvoiceRow]) -> dict[str, ShownRow]:
    """By invoice id."""
    return {row.invoice_id: ShownRow(row._replace(document=""), hash(row.document.encode())) for row in invoices}


def read_state(value: bytes) -> ShownState | None:
    """None for what is no status."""
    try:
        document = _read(value)
        return ShownState(document["revision"], document["stuck_since"], shown(document))
    except (ValueError, TypeError, KeyError, LookupError):  # msgspec's are ValueErrors
        return None


def judge_states(
    findings: Findings, expected: Mapping[str, Expected], newest: Mapping[str, bytes], rows: dict[str, ShownRow]
) -> None:
    """One partition number: takes its invoices out of `rows`."""
    for invoice_id, state in expected.items():
        value, row = newest.get(invoice_id), rows.pop(invoice_id, None)
        for problem in _problems(state, value, row):
            findings.add("G3", problem, invoice_id=invoice_id)
    for invoice_id in newest.keys() - expected.keys():
        rows.pop(invoice_id, None)
        findings.add("G3", "a state is published, but the log holds no event of the invoice", invoice_id=invoice_id)


def judge_leftovers(findings: Findings, rows: Mapping[str, ShownRow]) -> None:
    """Rows of invoices that no partition has an event of."""
    for invoice_id in rows:
        findings.add("G3", "the store shows a state, but the log holds no event of the invoice", invoice_id=invoice_id)


def _problems(state: Expected, value: bytes | None, row: ShownRow | None) -> Sequence[str]:
    if value is None:
        return ["no state was published"]
    published = read_state(value)
    if published is None:
        return ["what was published is no state"]
    problems = [
        f"published {field.name} is {getattr(published.state, field.name)!r}, must be {getattr(state, field.name)!r}"
        for field in fields(Expected)
        if getattr(published.state, field.name) != getattr(state, field.name)
    ]
    if row is None:
        return [*problems, "the store shows no state"]
    if row.document != hash(value) or row.row.revision != published.revision:
        problems.append(f"the store shows revision {row.row.revision}, published last is {published.revision}")
    elif not problems:
        problems += _row_problems(state, row.row)
    return problems


def _row_problems(state: Expected, row: InvoiceRow) -> Sequence[str]:
    """Columns that do not say what the document beside them says."""
    must = {
        "status": state.status,
        "stage": state.stage,
        "entered_us": state.entered_us,
        "deadline_us": state.deadline_us,
        "last_occurred_us": state.last_occurred_us,
        "events": state.events,
        **{name: state.facts.get(name) for name in ("payee_code", "legal_entity_id", "invoice_due_date")},
        **{name: state.facts.get(name) for name in ("invoice_amount", "currency")},
    }
    return [
        f"the store shows {name} {getattr(row, name)!r}, must be {value!r}"
        for name, value in must.items()
        if getattr(row, name) != value
    ]
