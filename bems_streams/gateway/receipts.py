"""What a sender is told about its events: a receipt for each durable one, a problem for each other one.

Not here: how events become durable (flows/accept.py).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from bems_streams.domain.event import instant
from bems_streams.domain.failures import Poison
from bems_streams.flows.accept import Accepted, Outcome, Unproven
from bems_streams.flows.receipt import receipt_text
from bems_streams.gateway.problems import PROBLEM_TYPE, Header, Kind, ProblemDocument, Refusal, document, field_problems

JSON_TYPE: Final = b"application/json"
RETRY_LATER: Final[Header] = (b"retry-after", b"2")
RETRY_SAFELY: Final = "sending the same event_id again is safe"


class Answer(NamedTuple):
    """Status, body and extra headers. `Refusal` becomes one with a problem document."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = ()
    content_type: bytes = JSON_TYPE


class Receipt(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The event is durable, here. `receipt` names the place in one string; `accepted_at` is the broker's clock."""

    status: int | None = None
    event_id: str
    cell: str
    topic: str
    partition: int
    offset: int
    accepted_at: str
    receipt: str


class BatchReport(msgspec.Struct):
    """One item per event sent, in the same order. `unavailable`: good events that may or may not be durable."""

    accepted: int
    rejected: int
    unavailable: int
    items: Sequence[Receipt | ProblemDocument]


def receipt(accepted: Accepted, cell: str, status: int | None = None) -> Receipt:
    """The proof as the sender sees it."""
    event_id, (at, accepted_us) = accepted
    topic, partition, offset = at
    return Receipt(
        status=status,
        event_id=event_id,
        cell=cell,
        topic=topic,
        partition=partition,
        offset=offset,
        accepted_at=_rfc3339(accepted_us),
        receipt=receipt_text(cell, at),
    )


@lru_cache(maxsize=64)
def _rfc3339(moment_us: int) -> str:
    """Records that the broker appended together share their time."""
    return instant(moment_us).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def one_answer(outcome: Outcome, cell: str) -> Answer | Refusal:
    """For a body that is one event."""
    if isinstance(outcome, Accepted):
        return Answer(202, msgspec.json.encode(receipt(outcome, cell)))
    return _refusal(outcome, "#")


def batch_answer(outcomes: Sequence[Outcome], cell: str) -> Answer:
    """For a body that is an array: 202, 400 or 503 when all went the same way, else 207."""
    items = [
        receipt(outcome, cell, 202) if isinstance(outcome, Accepted) else _problem(outcome, f"#/{place}")
        for place, outcome in enumerate(outcomes)
    ]
    statuses = [item.status for item in items]
    accepted, rejected, unproven = (statuses.count(status) for status in (202, 400, 503))
    report = BatchReport(accepted=accepted, rejected=rejected, unavailable=unproven, items=items)
    status = statuses[0] if statuses.count(statuses[0]) == len(statuses) else None
    return Answer(status or 207, msgspec.json.encode(report), (RETRY_LATER,) if unproven else ())


def refusal_answer(refusal: Refusal, instance: str, correlation_id: str) -> Answer:
    """A problem document."""
    return Answer(refusal.kind.status, document(refusal, instance, correlation_id), refusal.headers, PROBLEM_TYPE)


def unavailable(reason: str) -> Refusal:
    """Good events, no proof."""
    return Refusal(Kind.UNAVAILABLE, f"{reason}; {RETRY_SAFELY}", (), (RETRY_LATER,))


def _refusal(outcome: Poison | Unproven, base: str) -> Refusal:
    if isinstance(outcome, Unproven):
        return unavailable(outcome.reason)
    problems = field_problems(outcome, base)
    return Refusal(Kind.INVALID_EVENT, f"{outcome.code}: correct what `problems` names and send it again", problems)


def _problem(outcome: Poison | Unproven, base: str) -> ProblemDocument:
    refusal = _refusal(outcome, base)
    return ProblemDocument(
        type=refusal.kind.uri,
        title=refusal.kind.title,
        status=refusal.kind.status,
        detail=refusal.detail,
        event_id=outcome.event_id if isinstance(outcome, Unproven) else None,
        code=str(outcome.code) if isinstance(outcome, Poison) else None,
        problems=refusal.problems,
    )
