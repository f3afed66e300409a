"""What may be written in topics.yaml, entry by entry; unknown keys are refused.

Not here: rules that compare entries (rules.py), what is derived from them (topics.py).
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def parse_duration(text: object) -> timedelta:
    """`5s`, `10m`, `12h`, `365d`, `250ms`. ValueError names what is expected."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration; write a whole number above 0 and a unit (ms, s, m, h, d): 30d")
    return int(match[1]) * _UNITS[match[2]]


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Prose = Annotated[str, Field(min_length=1)]
Partitions = Annotated[int, Field(ge=1, le=99, strict=True)]
Replicas = Annotated[int, Field(ge=1, le=9, strict=True)]


class Entry(BaseModel):
    """An entry of the file: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StageEntry(Entry):
    """One stage of the journey. `code` is its number in stored state; no `stuck_after` means no limit."""

    name: Name
    code: Annotated[int, Field(ge=1, le=255, strict=True)]
    stuck_after: Duration | None = None


class AgentEntry(Entry):
    """One agent: a consumer group. `retry` is the waiting time before each further try; empty means none. `late`: its
    store has a way of its own for late events.
    """

    summary: Prose
    retry: tuple[Duration, ...] = ()
    state: Annotated[bool, Field(strict=True)] = False
    late: Annotated[bool, Field(strict=True)] = False


class TopicEntry(Entry):
    """One topic, or one per stage when its name contains `{stage}`. `retention` counts from the record time."""

    summary: Prose
    key: Literal["invoice_id", "partition", "run"]
    payload: str
    timestamp: Literal["log-append", "create"]
    cleanup: Literal["delete", "compact"]
    retention: Duration | None = None
    producers: Annotated[tuple[str, ...], Field(min_length=1)]
    consumers: Annotated[tuple[str, ...], Field(min_length=1)]


class PayloadEntry(Entry):
    """What is in a record, shown by an example."""

    summary: Prose
    example: dict[str, Any]


class DerivedEntry(Entry):
    """How long derived topics keep records; `tombstone_retention`: how long compacted topics keep deletion marks."""

    retry_retention: Duration
    dead_letter_retention: Duration
    tombstone_retention: Duration
