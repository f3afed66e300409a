"""Dead letters as JSON: a decoded view for people, and the record itself in base64, every byte of it.

Not here: tables (dlq_screen.py).
"""

from base64 import b64encode
from typing import Any

from bems_streams.domain.event import instant
from bems_streams.flows.dead_letters import DeadLetter, Letter
from bems_streams.flows.receipt import receipt_text
from bems_streams.ports import Coordinates, RawRecord


def place_text(at: Coordinates) -> str:
    """As `bems dlq show` takes it."""
    return f"{at.topic}/{at.partition}/{at.offset}"


def letter_object(letter: Letter, cell: str) -> dict[str, Any]:
    """What is known of it, without its bytes. `cell`: ours, for what does not name its own."""
    known: dict[str, Any] = {
        "at": place_text(letter.at),
        "agent": letter.agent,
        "stage": letter.stage,
        "code": letter.code,
        "reason": letter.reason,
        "failed_at": instant(letter.failed_us),
        "trace_id": letter.trace_id,
    }
    if not isinstance(letter, DeadLetter):
        return known | {"readable": False}
    record, passage = letter.record, letter.passage
    return known | {
        "readable": True,
        "invoice_id": letter.invoice_id,
        "receipt": receipt_text(passage.cell or cell, record.at),
        "origin": record.at._asdict(),
        "accepted_at": instant(record.accepted_us),
        "first_failed_at": instant(passage.first_failed_us),
        "attempts": passage.attempts,
        "redrives": passage.redrives,
        "run": passage.run or None,
        "cell": passage.cell,
        "region": passage.region,
    }


def export_object(letter: Letter, cell: str) -> dict[str, Any]:
    """Lossless: `record` is the record of the dead-letter topic, from which it can be made again, byte by byte."""
    original = letter.record if isinstance(letter, DeadLetter) else letter.raw
    return letter_object(letter, cell) | {"value_text": _text(original.value), "record": _record(letter.raw)}


def _record(raw: RawRecord) -> dict[str, Any]:
    return {
        "topic": raw.at.topic,
        "partition": raw.at.partition,
        "offset": raw.at.offset,
        "accepted_at": instant(raw.accepted_us),
        "key": _base64(raw.key),
        "value": _base64(raw.value),
        "headers": [[name, _base64(value)] for name, value in raw.headers],
    }


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()


def _text(raw: bytes | None) -> str | None:
    """As it reads, when it is text at all."""
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None
