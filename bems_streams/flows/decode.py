"""From a raw record to an event of the stage its topic stands for, or to every reason why not.

Not here: what happens to either (track.py, store.py, lanes.py).
"""

from typing import Final

from bems_streams.domain.event import Event, instant, parse_event
from bems_streams.domain.failures import Business, Failure, FutureDated, NotJson, Poison, Problem, WrongKey, WrongStage
from bems_streams.ports import RawRecord

MOST_AHEAD_US: Final = 24 * 3_600_000_000
"""Clocks and time zones of upstream systems may be wrong by hours; an event later than that would hold its invoice in
that stage until then."""


def judge(record: RawRecord, stage: str, now_us: int) -> Event | Failure:
    """Pure. What every agent says of a record before it does anything with it."""
    event = decode_event(record, stage)
    if isinstance(event, Failure):
        return event
    return refusal(event, record.accepted_us, now_us) or event


def refusal(event: Event, accepted_us: int, now_us: int) -> Business | None:
    """Why a rule says no to an event now; None when none does.

    A worker whose clock is behind refuses nothing that was in time by the broker's clock when it was accepted.
    """
    ahead_us = event.occurred_us - MOST_AHEAD_US
    if ahead_us <= now_us or ahead_us <= accepted_us:
        return None
    limit = instant(ahead_us).isoformat(timespec="seconds")
    message = f"is more than a day ahead of now; redrive it after {limit}, or send it with the right time"
    return FutureDated((Problem("occurred_at", message),))


def decode_event(record: RawRecord, stage: str) -> Event | Poison:
    """Pure. The record's key must be the invoice id: it decides the partition, and so which worker keeps the state."""
    if record.value is None:
        return NotJson((Problem("", "the record has no value"),))
    event = parse_event(record.value)
    if isinstance(event, Poison):
        return event
    if event.stage != stage:
        problem = Problem("stage", f"is {event.stage!r}, but the record came in on the topic of {stage!r}")
        return WrongStage((problem,))
    if record.key != event.invoice_id.encode():
        problem = Problem("invoice_id", f"must be the record's key, which is {record.key!r}")
        return WrongKey((problem,))
    return event
