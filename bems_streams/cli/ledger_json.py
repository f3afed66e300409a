"""A verification of the ledger as JSON: receipts, RFC 3339 times in UTC, amounts as text.

Not here: the verification itself (flows/reconcile.py).
"""

from dataclasses import asdict
from typing import Any

import msgspec

from bems_streams.domain.event import instant
from bems_streams.flows.ledger.findings import Finding, Kind, LineKey, Reconciliation, Total


def reconciliation_json(result: Reconciliation, cell: str) -> bytes:
    """One document, indented."""
    document = {
        "cell": cell,
        "closed": result.closed,
        "missing": result.count(Kind.MISSING),
        "verified_at": instant(result.verified_us),
        "since": instant(result.since_us),
        "until": instant(result.until_us),
        "counts": {kind.value: result.count(kind) for kind in Kind},
        "pending": result.pending,
        "unprovable_offsets": result.unprovable,
        "unsettled_entries": result.unsettled,
        "totals": [_total(total) for total in result.totals],
        "lines": [_key(key) | asdict(result.lines[key]) for key in sorted(result.lines, key=_order)],
        "findings": [finding_object(found, cell) for found in result.findings],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def finding_object(found: Finding, cell: str) -> dict[str, Any]:
    """What is known of it; what is not known is left out."""
    known = {name: value for name, value in found._asdict().items() if value is not None and name != "accepted_us"}
    times = {} if found.accepted_us is None else {"accepted_at": instant(found.accepted_us)}
    return {"receipt": found.receipt(cell), **known, **times}


def _order(key: LineKey) -> tuple[str, str, int, int]:
    return key.agent, key.topic, -1 if key.partition is None else key.partition, key.minute_us or 0


def _key(key: LineKey) -> dict[str, Any]:
    minute = {} if key.minute_us is None else {"minute": instant(key.minute_us)}
    partition = {} if key.partition is None else {"partition": key.partition}
    return {"agent": key.agent, "topic": key.topic, **partition, **minute}


def _total(total: Total) -> dict[str, str]:
    amounts = {"accepted": total.accepted, "stored": total.stored, "in_log": total.in_log}
    known = {name: format(amount, "f") for name, amount in amounts.items() if amount is not None}
    return {"currency": total.currency, **known}
