"""A gateway that does what a test tells it to: real HTTP on a free loopback port, in a thread of its own."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec


@dataclass(frozen=True)
class Request:
    """What arrived: the items of an array with their bytes, or one bare body."""

    stage: str
    raws: Sequence[bytes]
    bare: bool


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Drop:
    """Close the connection instead of answering."""


Policy = Callable[[Request], Reply | Drop | None]  # None: the policy of every day
PROBLEM = {"content-type": "application/problem+json"}


def everyday(request: Request) -> Reply:
    """202 for every event, save those that carry "bad": 400 naming that field."""
    if request.bare:
        return Reply(400, {"title": "bad", "detail": "not valid JSON", "status": 400}, PROBLEM)
    items: list[dict[str, Any]] = []
    for place, raw in enumerate(request.raws):
        if b'"bad"' in raw:
            problem = {"path": f"#/{place}/bad", "message": "unknown field"}
            items.append({"status": 400, "title": "not acceptable", "problems": [problem]})
        else:
            items.append({"status": 202, "topic": f"invoices.{request.stage}", "partition": 3, "offset": place + 10})
    statuses = {item["status"] for item in items}
    return Reply(statuses.pop() if len(statuses) == 1 else 207, {"items": items})


class FakeGateway:
    """Context manager. `policy` may answer for itself; what arrived is in `requests`."""

    def __init__(self, policy: Policy = everyday, port: int = 0) -> None:
        self.policy = policy
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def raws(self) -> list[bytes]:
        """Everything that arrived, as often as it did."""
        with self._lock:
            return [raw for request in self.requests for raw in request.raws]

    def answer(self, request: Request) -> Reply | Drop:
        """Note the request and decide."""
        with self._lock:
            self.requests.append(request)
            return self.policy(request) or everyday(request)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def _handler(gateway: FakeGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            stage = self.path.removeprefix("/v1/").removesuffix("/events")
            try:
                raws = [bytes(raw) for raw in msgspec.json.decode(body, type=list[msgspec.Raw])]
                request = Request(stage, raws, bare=False)
            except msgspec.DecodeError:
                request = Request(stage, [body], bare=True)
            answer = gateway.answer(request)
            if isinstance(answer, Drop):
                self.close_connection = True
                return
            payload = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler
