"""From a raw record to an event of the stage its topic stands for, or to every reason why not.

Not here: what happens to either (track.py, store.py, dead_letter.py).
"""

from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.failures import NotJson, Poison, Problem, WrongKey, WrongStage
from bems_streams.ports import RawRecord


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
