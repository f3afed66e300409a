"""The gateway's ASGI application: a thin path for events; everything else goes to the cold routes.

Not here: what an event must be (domain), the cold routes (cold.py), sockets and signals (server.py).
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any, Final

from bems_streams.domain.failures import Poison
from bems_streams.flows.accept import Accepted, Entrance, One, Unproven, accept, split
from bems_streams.gateway.availability import Availability
from bems_streams.gateway.body import RETRY_SOON, Gone, Receive, read_body
from bems_streams.gateway.limits import InFlight, Limits, Ticket
from bems_streams.gateway.lookup import RECEIPTS
from bems_streams.gateway.problems import Kind, Refusal, field_problems
from bems_streams.gateway.receipts import Answer, batch_answer, one_answer, refusal_answer, unavailable
from bems_streams.gateway.request import CorrelationIds, encoding_of
from bems_streams.metrics import GatewayMetrics
from bems_streams.ports import Appender

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX: Final = "/v1/"
OUTCOMES: Final[Mapping[type, str]] = {Accepted: "accepted", Unproven: "unavailable"}  # any other is "rejected"


class Gateway:
    """Answers 202 for an event only with the broker's proof in hand; else says what is wrong or when to come back."""

    def __init__(
        self,
        *,
        cell: str,
        stage_topics: Mapping[str, str],
        appender: Appender,
        availability: Availability,
        limits: Limits,
        metrics: GatewayMetrics,
        cold: Application,
    ) -> None:
        self._cell = cell
        self._cell_header = ("cell", cell.encode())
        self._entrances = {f"{PREFIX}{stage}/events": Entrance(stage, topic) for stage, topic in stage_topics.items()}
        self._appender = appender
        self._availability = availability
        self._limits = limits
        self._metrics = metrics
        self._counters = {
            (stage, outcome): metrics.events.labels(stage, outcome)
            for stage in stage_topics
            for outcome in (*OUTCOMES.values(), "rejected", "throttled")
        }
        self._requests = cache(lambda status: metrics.requests.labels(str(status)))
        self._correlation_ids = CorrelationIds()
        self._cold = cold
        self.in_flight = InFlight(limits)
        metrics.in_flight.set_function(lambda: self.in_flight.events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and (scope["path"] in self._entrances or _is_hot(scope["path"])):
            await self._serve(scope, receive, send)
        else:
            await self._cold(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = dict(scope["headers"])
        correlation_id = self._correlation_ids.of(headers)
        if isinstance(correlation_id, Refusal):
            answer: Answer | Refusal | Gone = correlation_id
            correlation_id = self._correlation_ids.new()
        else:
            answer = await self._answer_or_apologise(scope, headers, receive, correlation_id)
        if isinstance(answer, Refusal):
            answer = refusal_answer(answer, scope["path"], correlation_id)
        if isinstance(answer, Gone):
            self._requests("disconnected").inc()
            return
        self._requests(answer.status).inc()
        self._metrics.request_seconds.observe(time.perf_counter() - started)
        await _send(answer, correlation_id, send)

    async def _answer_or_apologise(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, correlation_id: str
    ) -> Answer | Refusal | Gone:
        ticket = Ticket(self.in_flight)
        try:
            return await self._answer(scope, headers, receive, correlation_id, ticket)
        except Exception:
            log.exception("a request failed, correlation_id=%s", correlation_id)
            return Refusal(Kind.INTERNAL, "nothing can be said of your events; sending the same event_id again is safe")
        finally:
            ticket.give_back()

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, correlation_id: str, ticket: Ticket
    ) -> Answer | Refusal | Gone:
        entrance = self._entrances.get(scope["path"])
        if entrance is None:
            return self._no_entrance(scope["path"])
        encoding = encoding_of(scope["method"], headers, self._limits)
        if isinstance(encoding, Refusal):
            return encoding
        if self._availability.reason is not None:
            self._count(entrance, "unavailable", 1)
            return unavailable("not written: this cell cannot take events now (its /readyz says why)")
        body = await read_body(receive, encoding, ticket, self._limits)
        if not isinstance(body, bytes):
            return body
        return await self._take(body, entrance, correlation_id, ticket)

    async def _take(self, body: bytes, entrance: Entrance, correlation_id: str, ticket: Ticket) -> Answer | Refusal:
        parts = split(body)
        if isinstance(parts, Poison):
            self._count(entrance, "rejected", 1)
            return Refusal(Kind.INVALID_BODY, "it begins like an array of events", field_problems(parts, "#"))
        raws = (parts.raw,) if isinstance(parts, One) else parts.raws
        if not raws:
            return Refusal(Kind.INVALID_BODY, "the array is empty; send at least one event")
        if len(raws) > self._limits.batch_events:
            detail = f"{len(raws)} events; a batch has at most {self._limits.batch_events}, so send several"
            return Refusal(Kind.BATCH_TOO_LARGE, detail)
        if not ticket.add_events(len(raws)):
            self._count(entrance, "throttled", len(raws))
            detail = f"{self.in_flight.events} events await the broker; send yours again a little later"
            return Refusal(Kind.BUSY, detail, (), (RETRY_SOON,))
        record_headers = (("correlation-id", correlation_id.encode()), self._cell_header)
        outcomes = await accept(raws, entrance, record_headers, self._appender)
        kinds = [*map(type, outcomes)]
        for kind in set(kinds):
            self._count(entrance, OUTCOMES.get(kind, "rejected"), kinds.count(kind))
        return one_answer(outcomes[0], self._cell) if isinstance(parts, One) else batch_answer(outcomes, self._cell)

    def _no_entrance(self, path: str) -> Refusal:
        known = ", ".join(self._entrances)
        stage, _, rest = path.removeprefix(PREFIX).partition("/")
        if rest == "events":
            return Refusal(Kind.UNKNOWN_STAGE, f"{stage[:64]!r} is not a stage of this cell; post to one of {known}")
        return Refusal(Kind.NOT_FOUND, f"post events to one of {known}; /docs explains the rest")

    def _count(self, entrance: Entrance, outcome: str, events: int) -> None:
        self._counters[entrance.stage, outcome].inc(events)


def _is_hot(path: str) -> bool:
    """Also addresses that are nearly those of events: whoever posts there gets an answer that helps."""
    return path.startswith(PREFIX) and not path.startswith(RECEIPTS)


async def _send(answer: Answer, correlation_id: str, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.content_type),
                (b"content-length", str(len(answer.body)).encode()),
                (b"x-correlation-id", correlation_id.encode()),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})
