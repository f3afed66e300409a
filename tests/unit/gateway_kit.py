"""A gateway in memory for tests: an appender that obeys, refuses, waits or fails, and a client that speaks ASGI.

Not here: any test.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from bems_streams.flows.resolve import Resolution, Unknown
from bems_streams.gateway.app import Gateway
from bems_streams.gateway.availability import Availability
from bems_streams.gateway.cold import cold_routes
from bems_streams.gateway.limits import Limits
from bems_streams.gateway.lookup import Lookup
from bems_streams.gateway.openapi import openapi
from bems_streams.health import Health
from bems_streams.metrics import GatewayMetrics
from bems_streams.ports import Appended, Coordinates, NotAppended, OutRecord

STAGE_TOPICS = {name: f"invoices.{name}" for name in ("ingestion", "reconciliation", "authorization", "posting")}
ACCEPTED_US = 1_763_900_000_123_000
JSON_HEADERS = {"content-type": "application/json"}

Verdict = Callable[[OutRecord], NotAppended | None]


class MemoryLog:
    """An Appender: keeps records per topic. `verdict` may refuse one; `gate` holds every answer back while closed."""

    def __init__(self, verdict: Verdict = lambda _: None) -> None:
        self.records: list[OutRecord] = []
        self.verdict = verdict
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0

    async def append(self, records: Sequence[OutRecord]) -> Sequence[Appended | NotAppended]:
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        return [self._append(record) for record in records]

    def _append(self, record: OutRecord) -> Appended | NotAppended:
        refusal = self.verdict(record)
        if refusal is not None:
            return refusal
        offset = sum(kept.topic == record.topic for kept in self.records)
        self.records.append(record)
        return Appended(Coordinates(record.topic, 0, offset), ACCEPTED_US)


def refusing(part: bytes) -> Verdict:
    """A verdict against every record whose value has `part` in it."""
    return lambda record: NotAppended("timed out", retriable=True) if part in (record.value or b"") else None


@dataclass
class Reply:
    """What came back over ASGI. `status` 0: nothing, because the sender had gone."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def paths(self) -> set[str]:
        return {problem["path"] for problem in self.json["problems"]}


class Bench:
    """A gateway over a MemoryLog, taking events unless `away` says why not."""

    def __init__(
        self,
        *,
        log: MemoryLog | None = None,
        limits: Limits | None = None,
        away: str | None = None,
        resolve: Callable[[str], Resolution] = lambda receipt: Unknown(f"nobody was asked about {receipt}"),
        stage_topics: Mapping[str, str] = STAGE_TOPICS,
        answer_seconds: float = 5.0,
    ) -> None:
        self.log = log or MemoryLog()
        self.lookup = Lookup(resolve, answer_seconds)
        self.availability = Availability()
        self.availability.learn(away)
        self.registry = CollectorRegistry()
        limits = limits or Limits()
        health = Health("gateway", self.registry, self.availability.readiness)
        self.app = Gateway(
            cell="cell-7",
            stage_topics=stage_topics,
            appender=self.log,
            availability=self.availability,
            limits=limits,
            metrics=GatewayMetrics(self.registry),
            cold=cold_routes(openapi([*stage_topics], limits, "0.0"), health, self.lookup),
        )

    async def send(
        self,
        body: bytes | Sequence[bytes] = b"",
        *,
        path: str = "/v1/ingestion/events",
        method: str = "POST",
        headers: Mapping[str, str] = JSON_HEADERS,
        cut_off: bool = False,
    ) -> Reply:
        """One request; a sequence of bytes comes in pieces. `cut_off`: the sender goes after the last piece."""
        pieces = [body] if isinstance(body, bytes) else list(body)
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": cut_off or place + 1 < len(pieces)}
            for place, piece in enumerate(pieces)
        ]
        reply = Reply()

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                reply.status = message["status"]
                reply.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                reply.body += message.get("body", b"")

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        }
        await self.app(scope, receive, send)
        return reply

    def counted(self, name: str, **labels: str) -> float:
        """A metric's value; 0 when it was never counted."""
        return self.registry.get_sample_value(name, labels) or 0.0


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A valid event of stage ingestion; None removes a field."""
    fields = {
        "event_id": f"e-{number}",
        "source": "erp",
        "occurred_at": "2025-11-03T10:15:00+01:00",
        "invoice_id": f"INV-{number % 3}",
        "stage": "ingestion",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def encoded(value: object) -> bytes:
    """JSON as a sender may write it: with spaces, and not sorted."""
    return json.dumps(value, indent=1).encode()


def is_problem(reply: Reply, status: int, kind: str) -> bool:
    """An RFC 9457 document whose parts agree with the answer that carries it."""
    document = reply.json
    return (
        (reply.status, document["status"], document["type"]) == (status, status, f"/docs#{kind}")
        and reply.headers["content-type"] == "application/problem+json"
        and document["correlation_id"] == reply.headers["x-correlation-id"]
        and bool(document["title"])
        and bool(document["detail"])
    )


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Let others run until the condition holds; TimeoutError when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for does not tell
            await asyncio.sleep(0)
