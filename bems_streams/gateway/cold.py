"""The routes that are not hot: receipts, documentation, health, metrics, and a clear answer for everything else.

Not here: taking events (app.py).
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bems_streams.gateway.docs import docs_page
from bems_streams.gateway.lookup import RECEIPTS, Lookup
from bems_streams.gateway.problems import PROBLEM_TYPE, Kind, Refusal, document
from bems_streams.gateway.receipts import JSON_TYPE
from bems_streams.gateway.request import CorrelationIds
from bems_streams.health import Health

_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def cold_routes(api: Mapping[str, Any], health: Health, lookup: Lookup) -> Starlette:
    """/v1/receipts/…, /openapi.json, /docs, /healthz, /readyz, /metrics; problem documents for the rest."""
    machine, human = msgspec.json.format(msgspec.json.encode(api)), docs_page(api)

    async def receipt(request: Request) -> Response:
        found = await lookup(request.path_params["receipt"])
        if isinstance(found, Refusal):
            return _problem(request, found)
        headers = {"cache-control": "no-store"}  # it changes any moment
        return Response(msgspec.json.encode(found), media_type=JSON_TYPE.decode(), headers=headers)

    async def openapi(_: Request) -> Response:
        return Response(machine, media_type=JSON_TYPE.decode())

    async def docs(_: Request) -> Response:
        return Response(human, media_type="text/html", headers={"content-security-policy": _CONTENT_POLICY})

    async def home(_: Request) -> Response:
        return RedirectResponse("/docs")

    async def state(request: Request) -> Response:
        answer = health.answer(request.url.path)
        assert answer is not None
        return Response(answer.body, answer.status, headers={"content-type": answer.content_type})

    return Starlette(
        routes=[
            Route(f"{RECEIPTS}{{receipt:path}}", receipt),
            Route("/", home),
            Route("/docs", docs),
            Route("/openapi.json", openapi),
            *(Route(path, state) for path in ("/healthz", "/readyz", "/metrics")),
        ],
        exception_handlers={404: _nothing_here, 405: _other_method},
    )


async def _nothing_here(request: Request, _: Exception) -> Response:
    detail = "post events to /v1/<stage>/events, look receipts up at /v1/receipts/<receipt>; /docs explains the rest"
    return _problem(request, Refusal(Kind.NOT_FOUND, detail))


async def _other_method(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = ", ".join(sorted((error.headers or {})["Allow"].split(", ")))
    headers = ((b"allow", allowed.encode()),)
    return _problem(request, Refusal(Kind.METHOD, f"use one of {allowed}", (), headers))


def _problem(request: Request, refusal: Refusal) -> Response:
    correlation_id = CorrelationIds().new()
    headers = {name.decode(): value.decode() for name, value in refusal.headers}
    return Response(
        document(refusal, request.url.path, correlation_id),
        refusal.kind.status,
        headers={**headers, "x-correlation-id": correlation_id, "content-type": PROBLEM_TYPE.decode()},
    )
