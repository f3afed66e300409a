"""Everything that can go wrong with a record: its code, whether trying again may help, and where the record goes.

    Failure
    ├── Transient            the destination fails, not the record       wait: the agent pauses, nothing moves
    │   ├── StoreAway            store_away
    │   ├── Throttled            throttled
    │   └── BrokerTimeout        broker_timeout
    ├── Business             a rule says no, and may say yes later       retry lane, then dead letters
    │   ├── FutureDated          future_dated
    │   └── StoreRefused         store_refused
    ├── Late                 older than what the store takes as new      late lane
    │   └── OutsideHotWindow     outside_hot_window
    └── Poison               waiting never helps                         dead letters at once
        ├── NotJson              not_json
        ├── InvalidEvent         invalid_event
        ├── TooLarge             too_large
        ├── WrongStage           wrong_stage
        ├── WrongKey             wrong_key
        ├── Unfoldable           unfoldable
        └── BadEnvelope          bad_envelope

A failure is an outcome, not an exception: the record stays as it is. A further kind is one subclass here; labels,
headers and docs/failures.md follow (a test compares). Not here: who decides it (flows), how it is sent (HTTP, topics).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple

MAX_REASON_CHARS: Final = 2_000
"""A record full of nonsense has thousands of problems; naming all in a header would make its dead letter too large."""


class Problem(NamedTuple):
    """One thing that is wrong: `path` below the event (`attributes.colour`; empty for the whole), and what to do."""

    path: str
    message: str


class Lane(StrEnum):
    """Where a record goes that could not be handled."""

    WAIT = "wait"  # nowhere: its partition waits with it
    RETRY = "retry"
    LATE = "late"
    DEAD_LETTER = "dead-letter"


@dataclass(frozen=True)
class Failure:
    """Why a record was not handled, with every problem. Use the leaves; `code` is bounded: a label and a header."""

    problems: tuple[Problem, ...]
    code: ClassVar[str]
    retriable: ClassVar[bool]
    lane: ClassVar[Lane]

    @property
    def reason(self) -> str:
        """The problems on one line, for headers and logs: cut at MAX_REASON_CHARS, which says how many there are."""
        line = "; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in self.problems)
        if len(line) <= MAX_REASON_CHARS:
            return line
        return f"{len(self.problems)} problems: {line[:MAX_REASON_CHARS]}…"


class Transient(Failure):
    """The destination is away, slow or overloaded: the same record will be taken later."""

    retriable = True
    lane = Lane.WAIT


class StoreAway(Transient):
    """The store does not answer, is locked, or its disk is full."""

    code = "store_away"


class Throttled(Transient):
    """The store asks for fewer writes."""

    code = "throttled"


class BrokerTimeout(Transient):
    """The broker did not acknowledge in time."""

    code = "broker_timeout"


class Business(Failure):
    """A rule refused this record alone; time, or somebody, may heal it."""

    retriable = True
    lane = Lane.RETRY


class FutureDated(Business):
    """It says it happens later than any clock may be wrong; heals when that time comes."""

    code = "future_dated"


class StoreRefused(Business):
    """The store took the rest of the batch, but not this record."""

    code = "store_refused"


class Late(Failure):
    """Too old for the way in that the store keeps for what is new."""

    retriable = True
    lane = Lane.LATE


class OutsideHotWindow(Late):
    """It happened before the store's hot window begins."""

    code = "outside_hot_window"


class Poison(Failure):
    """The record itself is wrong: only other code, or a corrected record, could handle it."""

    retriable = False
    lane = Lane.DEAD_LETTER


class NotJson(Poison):
    """Its bytes are no JSON object, or there are none."""

    code = "not_json"


class InvalidEvent(Poison):
    """JSON, but no event: fields missing, unknown or out of range."""

    code = "invalid_event"


class TooLarge(Poison):
    """More bytes than an event may have."""

    code = "too_large"


class WrongStage(Poison):
    """An event of another stage than the topic or address it came by."""

    code = "wrong_stage"


class WrongKey(Poison):
    """The record's key is not the invoice id, so it may be on another invoice's partition."""

    code = "wrong_key"


class Unfoldable(Poison):
    """The invoice's state cannot take it: corrupt, or full."""

    code = "unfoldable"


class BadEnvelope(Poison):
    """A record in a lane that does not say where it came from."""

    code = "bad_envelope"


def _leaves(kind: type[Failure]) -> Iterator[type[Failure]]:
    children = kind.__subclasses__()
    for child in children:
        yield from _leaves(child)
    if not children:
        yield kind


FAILURES: Final[Mapping[str, type[Failure]]] = {leaf.code: leaf for leaf in _leaves(Failure)}
"""Every kind by its code."""
