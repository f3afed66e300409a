"""Accepts events: from a request's bytes to one outcome per event, each accepted one proven durable.

Not here: HTTP, limits of a request (gateway), what Kafka is (adapters).
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.failures import NotJson, Poison, Problem, WrongStage
from bems_streams.ports import Appended, Appender, Headers, OutRecord

VALIDATED_AT_ONCE: Final = (
    100  # then other requests get a turn: explaining a bad event takes 50 times longer than a good one
)

# What `Accepted(...)` does after sorting its arguments out, which is half of its cost; as often as there are events.
_new: Final[Any] = tuple.__new__

_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Entrance(NamedTuple):
    """Where events of one stage go in."""

    stage: str
    topic: str


class Accepted(NamedTuple):
    """The event is durable."""

    event_id: str
    proof: Appended


class Unproven(NamedTuple):
    """The event is good, but nobody can promise that it is durable. Sending it again with its event_id is safe."""

    event_id: str
    reason: str


Outcome = Accepted | Poison | Unproven


class One(NamedTuple):
    """A body that is one event, valid or not."""

    raw: bytes


class Many(NamedTuple):
    """A body that is an array; each item exactly as it was sent."""

    raws: Sequence[bytes]


def split(body: bytes) -> One | Many | Poison:
    """Tell one event from an array of them. Poison when the body begins like an array and is not one."""
    if body.lstrip()[:1] != b"[":
        return One(body)
    try:
        return Many([bytes(raw) for raw in _split_array(body)])
    except (msgspec.DecodeError, RecursionError) as error:
        return NotJson((Problem("", f"not valid JSON: {error}"),))


def _wrong_stage(event: Event, expected: str) -> Poison:
    message = f"is {event.stage!r}, but this address takes {expected!r}; post it to the address of its own stage"
    return WrongStage((Problem("stage", message),))


async def accept(raws: Sequence[bytes], entrance: Entrance, headers: Headers, appender: Appender) -> list[Outcome]:
    """One outcome per item, same order. Good items are appended even when others are bad; none when none is good.

    The value of a record is the item itself.
    """
    stage, topic = entrance
    decisions: list[str | Poison] = []  # the id of an event, or what is wrong with it
    records: list[OutRecord] = []
    for place, raw in enumerate(raws, 1):
        event = parse_event(raw)
        if isinstance(event, Poison):
            decisions.append(event)
        elif event.stage != stage:
            decisions.append(_wrong_stage(event, stage))
        else:
            decisions.append(event.event_id)
            records.append(_new(OutRecord, (topic, event.invoice_id.encode(), raw, headers, None)))
        if place % VALIDATED_AT_ONCE == 0 and place < len(raws):
            await asyncio.sleep(0)
    proofs = iter(await appender.append(records) if records else ())
    return [
        decision
        if not isinstance(decision, str)
        else _new(Accepted, (decision, proof))
        if isinstance(proof := next(proofs), Appended)
        else Unproven(decision, proof.reason)
        for decision in decisions
    ]
