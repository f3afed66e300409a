"""How a record travels through lanes and dead letters: original key, bytes and headers, then what happened to it.

Ours are the last headers, from `bems-origin-topic` on, always all of them, so that nothing an upstream system writes
can be taken for them. Not here: which lane a record goes to (lanes.py).
"""

from datetime import datetime
from typing import Final, NamedTuple

from bems_streams.domain.event import instant, microseconds
from bems_streams.domain.failures import BadEnvelope, Problem
from bems_streams.ports import Coordinates, Headers, OutRecord, RawRecord

FIRST: Final = "bems-origin-topic"
REDRIVE_RUN: Final = "bems-redrive-run"
TRACE_HEADER: Final = "correlation-id"
MAX_REASON_BYTES: Final = 4096
MAX_COUNT: Final = 2**63 - 1


class Passage(NamedTuple):
    """What a record has been through with one agent. `attempts`: failed tries so far, of the present run."""

    agent: str
    code: str
    reason: str
    attempts: int
    redrives: int
    run: str  # of the redrive that sent it last; empty for none
    first_failed_us: int
    failed_us: int
    not_before_us: int
    cell: str
    region: str


def enclose(record: RawRecord, passage: Passage, topic: str) -> OutRecord:
    """Pure. `record` stands at its original coordinates; it stays on its partition number, with the same worker."""
    at = record.at
    ours = {
        FIRST: at.topic,
        "bems-origin-partition": str(at.partition),
        "bems-origin-offset": str(at.offset),
        "bems-accepted-at": _text(record.accepted_us),
        "bems-agent": passage.agent,
        "bems-code": passage.code,
        "bems-reason": passage.reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore"),
        "bems-attempts": str(passage.attempts),
        "bems-redrives": str(passage.redrives),
        REDRIVE_RUN: passage.run,
        "bems-first-failed-at": _text(passage.first_failed_us),
        "bems-failed-at": _text(passage.failed_us),
        "bems-not-before": _text(passage.not_before_us),
        "bems-cell": passage.cell,
        "bems-region": passage.region,
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in ours.items())]
    return OutRecord(topic, record.key, record.value, headers, partition=at.partition)


def disclose(record: RawRecord) -> tuple[RawRecord, Passage] | BadEnvelope:
    """The inverse: the record as it was accepted, at its original coordinates."""
    names = [name for name, _ in record.headers]
    if FIRST not in names:
        return BadEnvelope((Problem("", f"no header {FIRST}: only agents and `bems dlq redrive` write here"),))
    first = len(names) - 1 - names[::-1].index(FIRST)
    try:
        texts = {name: _written(value) for name, value in record.headers[first:]}
        at = Coordinates(texts[FIRST], _count(texts["bems-origin-partition"]), _count(texts["bems-origin-offset"]))
        passage = _passage(texts)
        accepted_us = _moment(texts["bems-accepted-at"])
    except (LookupError, ValueError, TypeError) as error:  # TypeError: a header without value, a time without offset
        return BadEnvelope((Problem("", f"its bems- headers are broken: {type(error).__name__}: {error}"),))
    return RawRecord(at, record.key, record.value, record.headers[:first], accepted_us), passage


def trace_id(headers: Headers) -> str | None:
    """What links the record to the request that brought it."""
    for name, value in headers:
        if name == TRACE_HEADER:
            return None if value is None else value.decode("utf-8", "replace")
    return None


def _passage(texts: dict[str, str]) -> Passage:
    return Passage(
        agent=texts["bems-agent"],
        code=texts["bems-code"],
        reason=texts["bems-reason"],
        attempts=_count(texts["bems-attempts"]),
        redrives=_count(texts["bems-redrives"]),
        run=texts[REDRIVE_RUN],
        first_failed_us=_moment(texts["bems-first-failed-at"]),
        failed_us=_moment(texts["bems-failed-at"]),
        not_before_us=_moment(texts["bems-not-before"]),
        cell=texts["bems-cell"],
        region=texts["bems-region"],
    )


def _written(value: bytes | None) -> str:
    if value is None:
        raise TypeError("a header without value")
    return value.decode()


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MAX_COUNT:
        raise ValueError(f"{number} is not within 0 and {MAX_COUNT}")
    return number


def _text(moment_us: int) -> str:
    return instant(moment_us).isoformat()


def _moment(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))
