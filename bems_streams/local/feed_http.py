"""One request to one of the cell's gateways, and what its answer says about each event in it.

Not here: when to try again (feeder.py).
"""

import ipaddress
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
import msgspec

from bems_streams.domain.failures import Problem

CONNECT_SECONDS: Final = 5.0
AWAY_SECONDS: Final = 1.0
"""How long a gateway that did not answer is asked only when the others did not either."""
JSON_HEADERS: Final = {"content-type": "application/json"}
PROBLEM_TYPE: Final = "application/problem+json"


class Taken(NamedTuple):
    """202: the event is durable, here. `topic` is empty when the receipt does not say."""

    topic: str
    partition: int
    offset: int
    accepted_at: str


class Refused(NamedTuple):
    """400: this event will never be accepted as it is."""

    problems: tuple[Problem, ...]


class Again(NamedTuple):
    """No proof that the event is durable: send the same bytes again. `status` is the gateway's word on this event."""

    reason: str
    status: int


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
    """Nothing was said about the events; wait (as long as the gateway asked) and send them again.

    `status` is 0 when there was no answer at all.
    """

    reason: str
    after_seconds: float | None = None
    status: int = 0


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
    accepted_at: str = ""
    title: str = ""
    detail: str = ""
    problems: list[_Problem] = []


class _Report(_Document):
    items: list[_Document] | None = None


_decode_report = msgspec.json.Decoder(_Report).decode


class _Gateway:
    """One address, and how it is doing."""

    def __init__(self, url: str, connections: int, answer_seconds: float) -> None:
        self.url = url.rstrip("/")
        self.client = httpx.AsyncClient(
            timeout=httpx.Timeout(answer_seconds, connect=min(CONNECT_SECONDS, answer_seconds)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=not _is_loopback(httpx.URL(url).host),  # a proxy never leads back to this machine
        )
        self.under_way = self.requests = 0
        self.away_until = 0.0

    async def post(self, path: str, body: bytes) -> httpx.Response | httpx.RequestError:
        self.under_way += 1
        self.requests += 1
        try:
            return await self.client.post(f"{self.url}{path}", content=body, headers=JSON_HEADERS)
        except httpx.RequestError as error:
            self.away_until = time.monotonic() + AWAY_SECONDS
            return error
        finally:
            self.under_way -= 1


class GatewayClient:
    """Sends to the least busy gateway of a cell. Use it as an async context manager.

    Never raises for what network or gateways do.
    """

    def __init__(self, urls: Sequence[str], connections: int, answer_seconds: float) -> None:
        self._gateways = [_Gateway(url, connections, answer_seconds) for url in urls]
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "GatewayClient":
        for gateway in self._gateways:
            self._open.push_async_callback(gateway.client.aclose)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def send(self, stage: str, events: Sequence[bytes]) -> Reply:
        """Post them as one array, each with its own bytes; all must be JSON values."""
        return await self._post(stage, b"[" + b",".join(events) + b"]", len(events), "#/{}")

    async def send_bare(self, stage: str, raw: bytes) -> Reply:
        """Post one as a body of its own. What is not JSON must go so: in an array it would spoil the others."""
        return await self._post(stage, raw, 1, "#")

    async def _post(self, stage: str, body: bytes, events: int, base: str) -> Reply:
        now = time.monotonic()
        gateway = min(self._gateways, key=lambda known: (known.away_until > now, known.under_way, known.requests))
        answer = await gateway.post(f"/v1/{quote(stage, safe='')}/events", body)
        if isinstance(answer, httpx.RequestError):
            return ComeBack(f"gateway away ({type(answer).__name__})")
        return interpret(answer, events, base)


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
        return ComeBack(f"gateway says {status}: {words}", _retry_after(response), status)
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
        return Taken(item.topic, item.partition, item.offset, item.accepted_at)
    if item.status == 429 or item.status >= 500:
        return Again(item.detail or f"gateway says {item.status}", item.status)
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
