"""One request to a gateway, and what its answer says about each event in it.

Not here: when to try again (feeder.py).
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from bems_streams.domain.failures import Problem

TIMEOUT: Final = httpx.Timeout(connect=5.0, read=60.0, write=30.0, pool=60.0)
JSON_HEADERS: Final = {"content-type": "application/json"}
PROBLEM_TYPE: Final = "application/problem+json"


class Taken(NamedTuple):
    """202: the event is durable. `partition` as `topic/partition`; empty when the receipt does not say."""

    partition: str
    offset: int


class Refused(NamedTuple):
    """400: this event will never be accepted as it is."""

    problems: tuple[Problem, ...]


class Again(NamedTuple):
    """No proof that the event is durable: send the same bytes again."""

    reason: str


EventReply = Taken | Refused | Again


class PerEvent(NamedTuple):
    """One reply per event, same order."""

    replies: Sequence[EventReply]
    after_seconds: float | None


class AllRefused(NamedTuple):
    """The address is wrong for all of them."""

    problems: tuple[Problem, ...]


class Indigestible(NamedTuple):
    """The request as a whole was refused (too large, not an array): smaller ones tell which event is to blame."""

    problems: tuple[Problem, ...]


class ComeBack(NamedTuple):
    """Nothing was said about the events; wait (as long as the gateway asked) and send them again."""

    reason: str
    after_seconds: float | None = None


class NotAGateway(NamedTuple):
    """No gateway answers like this, so sending more is pointless."""

    reason: str


Reply = PerEvent | AllRefused | Indigestible | ComeBack | NotAGateway


class _Problem(msgspec.Struct):
    path: str = ""
    message: str = ""


class _Document(msgspec.Struct):
    """A receipt or a problem document; `status` is absent in a receipt for a request of one event."""

    status: int = 0
    topic: str = ""
    partition: int = 0
    offset: int = 0
    title: str = ""
    detail: str = ""
    problems: list[_Problem] = []


class _Report(_Document):
    items: list[_Document] | None = None


_decode_report = msgspec.json.Decoder(_Report).decode


class GatewayClient:
    """Sends to one gateway. Use it as an async context manager. Never raises for what the network or gateway does."""

    def __init__(self, url: str, connections: int) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=not _is_loopback(httpx.URL(url).host),  # a proxy never leads back to this machine
        )

    async def __aenter__(self) -> "GatewayClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(self, stage: str, events: Sequence[bytes]) -> Reply:
        """Post them as one array, each with its own bytes; all must be JSON values."""
        return await self._post(stage, b"[" + b",".join(events) + b"]", len(events), "#/{}")

    async def send_bare(self, stage: str, raw: bytes) -> Reply:
        """Post what is not JSON as a body of its own: in an array it would spoil the others."""
        return await self._post(stage, raw, 1, "#")

    async def _post(self, stage: str, body: bytes, events: int, base: str) -> Reply:
        url = f"{self._url}/v1/{quote(stage, safe='')}/events"
        try:
            response = await self._client.post(url, content=body, headers=JSON_HEADERS)
        except httpx.RequestError as error:
            return ComeBack(f"gateway away ({type(error).__name__})")
        return interpret(response, events, base)


def interpret(response: httpx.Response, events: int, base: str) -> Reply:
    """What an answer to `events` events means. `base`: the JSON pointer of an event in the body, `{}` for its place."""
    status = response.status_code
    try:
        report = _decode_report(response.content)
    except msgspec.DecodeError:
        report = None
    if report is not None and (items := _items(report, status)) is not None and len(items) == events:
        replies = [_reply(item, base.format(place)) for place, item in enumerate(items)]
        return PerEvent(replies, _retry_after(response))
    if status in (408, 425, 429) or status >= 500:
        words = report.detail if report is not None and report.detail else response.reason_phrase
        return ComeBack(f"gateway says {status}: {words}", _retry_after(response))
    problems = _problems(report, "#") if report is not None else (Problem("", f"refused with {status}"),)
    if status in (400, 413):
        return Indigestible(problems)
    if status == 404 and response.headers.get("content-type", "").startswith(PROBLEM_TYPE):
        return AllRefused(problems)
    return NotAGateway(f"{response.url} answered {status}, as no gateway does; check the address")


def _items(report: _Report, status: int) -> list[_Document] | None:
    """The per-event part of an answer; a receipt is the answer to one event."""
    if report.items is None and status == 202 and report.topic:
        report.status = status
        return [report]
    return report.items


def _reply(item: _Document, base: str) -> EventReply:
    if item.status == 202:
        return Taken(f"{item.topic}/{item.partition}" if item.topic else "", item.offset)
    if item.status == 429 or item.status >= 500:
        return Again(item.detail or f"gateway says {item.status}")
    return Refused(_problems(item, base))


def _problems(document: _Document, base: str) -> tuple[Problem, ...]:
    """Paths below the event, as `domain.failures` has them, instead of pointers into the request."""
    listed = tuple(
        Problem(problem.path.removeprefix(base).lstrip("/").replace("/", "."), problem.message)
        for problem in document.problems
    )
    return listed or (Problem("", document.detail or document.title or f"refused with {document.status}"),)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from either form of the header (RFC 9110, 10.2.3); None when absent or senseless."""
    value = response.headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
