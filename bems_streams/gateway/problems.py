"""What a sender is told when something is wrong: RFC 9457 problem documents that name every field.

Not here: when to say it (app.py, body.py).
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from bems_streams.domain.failures import Poison, Problem

PROBLEM_TYPE: Final = b"application/problem+json"
MAX_LISTED: Final = 100  # more than an event has fields, so only surplus unknown fields are ever left out

Header = tuple[bytes, bytes]


class Kind(Enum):
    """Every kind of problem: the end of its type URI, its HTTP status, its title."""

    INVALID_EVENT = ("invalid-event", 400, "The event is not acceptable")
    INVALID_BODY = ("invalid-body", 400, "The body is not acceptable")
    INVALID_RECEIPT = ("invalid-receipt", 400, "This is no receipt")
    INVALID_HEADER = ("invalid-header", 400, "A request header is not acceptable")
    UNKNOWN_STAGE = ("unknown-stage", 404, "There is no such stage")
    UNKNOWN_RECEIPT = ("unknown-receipt", 404, "No such receipt was given")
    OTHER_CELL = ("other-cell", 404, "The receipt is of another cell")
    NOT_FOUND = ("not-found", 404, "There is nothing at this address")
    METHOD = ("method-not-allowed", 405, "This address does not take this method")
    SLOW_BODY = ("slow-body", 408, "The body did not arrive in time")
    BODY_TOO_LARGE = ("body-too-large", 413, "The body is too large")
    BATCH_TOO_LARGE = ("batch-too-large", 413, "The batch has too many events")
    MEDIA_TYPE = ("media-type", 415, "The content type or encoding is not supported")
    BUSY = ("busy", 429, "Too much is in flight")
    INTERNAL = ("internal", 500, "The gateway made a mistake")
    UNAVAILABLE = ("unavailable", 503, "Events cannot be made durable now")
    UNRESOLVED = ("unresolved", 503, "The receipt cannot be looked up now")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.slug = slug
        self.status = status
        self.title = title

    @property
    def uri(self) -> str:
        """The RFC 9457 type: the place in the gateway's own documentation that explains it."""
        return f"/docs#{self.slug}"


class Refusal(NamedTuple):
    """A request that is not carried out: why, and headers that help the sender."""

    kind: Kind
    detail: str
    problems: Sequence["FieldProblem"] = ()
    headers: tuple[Header, ...] = ()


class FieldProblem(msgspec.Struct, frozen=True):
    """One thing that is wrong. `path` is a JSON pointer into the request body, as a URI fragment (RFC 6901)."""

    path: str
    message: str


class ProblemDocument(msgspec.Struct, omit_defaults=True, kw_only=True):
    """RFC 9457, with the correlation id and every problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    correlation_id: str | None = None
    event_id: str | None = None
    code: str | None = None
    problems: Sequence[FieldProblem] = ()


def document(refusal: Refusal, instance: str, correlation_id: str) -> bytes:
    """The body of an answer."""
    return msgspec.json.encode(
        ProblemDocument(
            type=refusal.kind.uri,
            title=refusal.kind.title,
            status=refusal.kind.status,
            detail=refusal.detail,
            instance=instance,
            correlation_id=correlation_id,
            problems=refusal.problems,
        )
    )


def field_problems(rejected: Poison, base: str) -> tuple[FieldProblem, ...]:
    """All problems of one event; `base` is the pointer of the event itself: `#` or `#/3`."""
    return tuple(_listed(rejected.problems, base))


def _listed(problems: Sequence[Problem], base: str) -> Iterator[FieldProblem]:
    for problem in problems[:MAX_LISTED]:
        yield FieldProblem(pointer(base, problem.path), problem.message)
    if len(problems) > MAX_LISTED:
        yield FieldProblem(base, f"and {len(problems) - MAX_LISTED} more; correct these first")


def pointer(base: str, path: str) -> str:
    """`attributes.colour` below `#/3` is `#/3/attributes/colour`. Only `attributes` has anything inside."""
    if not path:
        return base
    if path.startswith("attributes."):
        return f"{base}/attributes/{_token(path.removeprefix('attributes.'))}"
    if path.startswith("attributes["):
        return f"{base}/attributes"
    return f"{base}/{_token(path)}"


def _token(name: str) -> str:
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@", errors="replace")
