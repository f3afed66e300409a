"""/metrics, /healthz and /readyz of one process, on a thread of their own so that a busy loop cannot silence them.

Not here: what metrics exist (metrics.py) or when a role is ready (the role says so).
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Answer(NamedTuple):
    """An HTTP answer, for the thread here or for a web framework to send."""

    status: int
    content_type: str
    body: bytes


class Health:
    """What one process says of itself. `ready` returns None when ready, else the reason why not. Thread-safe."""

    def __init__(self, role: str, registry: CollectorRegistry, ready: Callable[[], str | None]) -> None:
        self.role = role
        self._registry = registry
        self._ready = ready

    def answer(self, path: str) -> Answer | None:
        """The answer for /metrics, /healthz or /readyz; None for any other path."""
        if path == "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(self._registry))
        if path == "/healthz":
            return self._json(200, {"status": "alive", "role": self.role})
        if path == "/readyz":
            reason = self._ready()
            if reason is None:
                return self._json(200, {"status": "ready", "role": self.role})
            return self._json(503, {"status": "not ready", "role": self.role, "reason": reason})
        return None

    @staticmethod
    def _json(status: int, body: dict[str, str]) -> Answer:
        return Answer(status, "application/json", json.dumps(body).encode())


class HealthServer:
    """Serves a `Health` over HTTP from a daemon thread. `port` 0 takes a free one; `address` tells which."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = health.answer(self.path.partition("?")[0])
                if answer is None:
                    answer = Answer(404, "text/plain", b"try /metrics, /healthz or /readyz\n")
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:
                """Probes every few seconds are not news."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def address(self) -> str:
        """http://host:port."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
