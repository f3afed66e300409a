"""The console's HTTP face: the page, its query API, health.

Not here: JSON shapes (views.py), queries (snapshot.py), which store (cli/console.py).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bems_streams.console import views
from bems_streams.console.desk import Desk, StoreAwayError
from bems_streams.console.guard import Guard
from bems_streams.console.live import Live
from bems_streams.console.roles import Roles
from bems_streams.console.snapshot import Body
from bems_streams.health import Health
from bems_streams.ports import Clock

STATIC: Final = Path(__file__).parent / "static"
UNKNOWN: Final = (
    "Nothing about invoice {} is stored. Check the spelling (ids are case-sensitive); "
    "an event that was accepted just now appears within seconds."
)


@dataclass(frozen=True, slots=True)
class Console:
    """The parts of the app. `lookups` is a desk of its own: a search never waits for the next snapshot."""

    live: Live
    lookups: Desk
    roles: Roles
    health: Health
    clock: Clock
    gateway_url: str
    hosts: frozenset[str] = frozenset()
    lookup_timeout_seconds: float = 5.0


def build_app(console: Console) -> Starlette:
    """The ASGI app; while it runs, the snapshot and the roles are kept fresh."""

    @asynccontextmanager
    async def keep_fresh(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(console.live.run()), asyncio.create_task(console.roles.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await console.roles.close()

    api = _Api(console)
    return Starlette(
        routes=[
            Route("/", api.page),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/api/overview", api.overview),
            Route("/api/stuck", api.stuck),
            Route("/api/dead-letters", api.dead_letters),
            Route("/api/invoices/{invoice_id:path}", api.invoice),
            Route("/healthz", api.probe),
            Route("/readyz", api.probe),
            Route("/metrics", api.probe),
        ],
        middleware=[Middleware(Guard, hosts=console.hosts)],
        exception_handlers={HTTPException: _problem},
        lifespan=keep_fresh,
    )


class _Api:
    def __init__(self, console: Console) -> None:
        self._console = console

    async def page(self, request: Request) -> Response:
        """The one page."""
        return FileResponse(STATIC / "index.html")

    async def overview(self, request: Request) -> Response:
        """Always 200: when the store is away, `trouble` says so and `overview` is the last one seen, or null."""
        live, snapshot = self._console.live, self._console.live.snapshot
        return _json(
            {
                "now_us": self._console.clock.now_us(),
                "age_us": live.age_us(),
                "trouble": live.trouble,
                "roles": self._console.roles.seen,
                "gateway_url": self._console.gateway_url,
                "versions": {"stuck": snapshot.stuck.version, "dead_letters": snapshot.dead_letters.version}
                if snapshot
                else None,
                "overview": msgspec.Raw(snapshot.overview) if snapshot else None,
            }
        )

    async def stuck(self, request: Request) -> Response:
        """The longest-stuck invoices, as of the shared snapshot."""
        snapshot = self._console.live.snapshot
        return self._list(snapshot.stuck if snapshot else None)

    async def dead_letters(self, request: Request) -> Response:
        """The newest dead letters, as of the shared snapshot."""
        snapshot = self._console.live.snapshot
        return self._list(snapshot.dead_letters if snapshot else None)

    def _list(self, body: Body | None) -> Response:
        if body is None:
            return _json({"error": self._console.live.unready()}, status=503)
        return Response(body.json, media_type="application/json", headers={"Cache-Control": "no-store"})

    async def invoice(self, request: Request) -> Response:
        """The timeline of one invoice, asked at once."""
        invoice_id: str = request.path_params["invoice_id"]
        try:
            found = await self._console.lookups.ask(
                lambda reader: reader.timeline(invoice_id), self._console.lookup_timeout_seconds
            )
        except StoreAwayError as error:
            return _json({"error": str(error)}, status=503)
        shape = views.timeline(found)
        if shape is None:
            return _json({"error": UNKNOWN.format(invoice_id)}, status=404)
        return _json({"now_us": self._console.clock.now_us(), **shape})

    async def probe(self, request: Request) -> Response:
        """/healthz, /readyz and /metrics. Readiness says whether the store is readable, not whether the page is up."""
        answer = await asyncio.to_thread(self._console.health.answer, request.url.path)
        assert answer is not None, "routes and Health.answer name the same paths"
        return Response(answer.body, answer.status, media_type=answer.content_type)


def _json(shape: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(shape), status, {"Cache-Control": "no-store"}, "application/json")


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "The page is /; the API is /api/overview, /api/stuck, /api/dead-letters, /api/invoices/{id}; all are GET."
    return _json({"error": f"{error.detail}. {hint}"}, status=error.status_code)
