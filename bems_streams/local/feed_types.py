"""The words of feeding: what is offered, what became of it, how far it got.

Not here: sending (feeder.py), reading files (feed_lines.py), showing it (feed_report.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from bems_streams.domain.failures import Problem

Tag = int | str


class Offer(NamedTuple):
    """One event to send, exactly these bytes. `tag` says which one it was: a line number, a kind."""

    stage: str
    raw: bytes
    tag: Tag


class Outcome(StrEnum):
    """Every offered event ends as exactly one of these."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    GAVE_UP = "gave_up"


class Refusal(NamedTuple):
    """An event that was not accepted, and why. A source may yield one for what can not even be sent."""

    stage: str
    raw: bytes
    tag: Tag
    outcome: Outcome
    problems: tuple[Problem, ...]

    @property
    def reason(self) -> str:
        """All problems on one line."""
        return "; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in self.problems)


class SourceError(Exception):
    """The source of events broke off. What came before it is still sent."""


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """How to send. Events of one invoice share a connection, so they are sent in the order they were offered."""

    connections: int = 4
    batch_events: int = 1000  # that a connection collects, over all stages, before it sends
    batch_bytes: int = 3 * 1024 * 1024
    linger_seconds: float = 0.2
    give_up_after_seconds: float = 300.0
    backoff_seconds: float = 0.2
    longest_backoff_seconds: float = 15.0
    answer_seconds: float = 60.0
    """How long to wait for a gateway's answer before the same events are sent again."""
    single_every: int = 0
    """Every so many-th event is a request of its own; 0: only what must be."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_events <= 1_000 or self.connections < 1:
            raise ValueError("a batch has 1 to 1000 events, and there is at least one connection")


@dataclass(frozen=True, slots=True)
class StageCounts:
    """What became of the events offered for one stage."""

    accepted: int = 0
    rejected: int = 0
    gave_up: int = 0


@dataclass(frozen=True, slots=True)
class FeedProgress:
    """How far it got. `waiting`: why nothing moves just now, for people; None while it does."""

    offered: int
    accepted: int
    rejected: int
    gave_up: int
    retries: int
    waiting: str | None
    unavailable: int = 0
    """How often an event was answered 503."""


@dataclass(frozen=True, slots=True)
class FeedSummary:
    """The end of it: `offered == accepted + rejected + gave_up`.

    `accepted` counts events that were answered 202. An event whose first answer got lost was sent again, so the cell
    may hold a copy of it, which it recognises as a duplicate. `stopped`: why not everything was offered or sent, else
    None. `highest_offsets`: the last receipt per `topic/partition`.
    """

    offered: int
    accepted: int
    rejected: int
    gave_up: int
    requests: int
    retries: int
    seconds: float
    stages: Mapping[str, StageCounts]
    highest_offsets: Mapping[str, int]
    stopped: str | None
