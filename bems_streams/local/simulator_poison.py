"""Records that no upstream system should ever write to a stage topic, and their writing past the gateway.

Not here: events that the gateway refuses (simulator_payloads.py).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from bems_streams.domain.event import MAX_EVENT_BYTES
from bems_streams.ports import Appended, Appender, OutRecord

TURN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class PoisonSummary:
    """`written` are durable in the log; `failed` may or may not be, `reason` says why for the first."""

    written: int
    failed: int
    reason: str | None = None


def poison(run_id: str, seed: int, records: int, stage_topics: Mapping[str, str]) -> Iterator[OutRecord]:
    """As many bad records, spread over topics and kinds; every kind is seen among the first nine."""
    rng = Random(seed)  # noqa: S311 - made-up data
    stages = [*stage_topics]
    for number in range(records):
        stage = rng.choice(stages)
        invoice_id = f"BAD-{run_id}-{number:06d}"
        event = (
            f'{{"event_id":"{invoice_id}-1","source":"broken","occurred_at":"2026-01-31T12:00:00Z",'
            f'"invoice_id":"{invoice_id}","stage":"{stage}"}}'
        ).encode()
        elsewhere = stages[(stages.index(stage) + 1) % len(stages)].encode()
        key: bytes | None = invoice_id.encode()
        kinds: Sequence[tuple[bytes | None, bytes | None]] = (
            (key, event[:-20]),
            (key, b"\xff\xfe\x00 not text"),
            (key, b""),
            (key, None),
            (key, event.replace(b'"occurred_at":"2026-01-31T12:00:00Z",', b"")),
            (key, event.replace(stage.encode() + b'"}', elsewhere + b'"}')),
            (b"another-invoice", event),
            (key, b'["' + b"x" * MAX_EVENT_BYTES + b'"]'),
            (None, b"{}"),
        )
        key, value = kinds[number % len(kinds)]
        yield OutRecord(stage_topics[stage], key, value)


async def write_poison(
    appender: Appender, records: Sequence[OutRecord], done: Callable[[], float], finished: asyncio.Event
) -> PoisonSummary:
    """Write the records in step with `done` (0 to 1), the rest once `finished`. Each is written once, never retried."""
    written = failed = 0
    reason: str | None = None
    while (place := written + failed) < len(records):
        due = len(records) if finished.is_set() else int(len(records) * min(1.0, done()))
        for outcome in await appender.append(records[place:due]) if due > place else ():
            if isinstance(outcome, Appended):
                written += 1
            else:
                failed += 1
                reason = reason or outcome.reason
        if not finished.is_set():
            await asyncio.sleep(TURN_SECONDS)
    return PoisonSummary(written, failed, reason)
