"""What is in records, from the types that read and write them, so that catalogue and code cannot disagree.

Not here: which topic carries what (topics.yaml).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bems_streams.domain.accounting import AccountDocument, AuditDocument
from bems_streams.domain.event import Event, parse_event
from bems_streams.domain.failures import Poison, Problem
from bems_streams.domain.views import AlertDocument, StatusDocument

PAYLOAD_TYPES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "event": Event,
    "status": StatusDocument,
    "alert": AlertDocument,
    "account": AccountDocument,
    "audit": AuditDocument,
}


def payload_schema(payload: str) -> dict[str, Any]:
    """The JSON Schema of a payload in PAYLOAD_TYPES."""
    return msgspec.json.schema(PAYLOAD_TYPES[payload])


def example_problems(payload: str, example: Mapping[str, Any]) -> Iterator[Problem]:
    """What keeps the example from being a record of this payload."""
    raw = msgspec.json.encode(example)
    if payload == "event":
        event = parse_event(raw)
        if isinstance(event, Poison):
            yield from event.problems
        return
    try:
        msgspec.json.decode(raw, type=PAYLOAD_TYPES[payload])
    except msgspec.ValidationError as error:
        yield Problem("", f"{error}; correct the example")
    known = {field.name for field in msgspec.structs.fields(PAYLOAD_TYPES[payload])}
    for name in example.keys() - known:
        yield Problem(name, "no field of this payload; remove it")
