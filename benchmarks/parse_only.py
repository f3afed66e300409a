"""The least that a gateway could do: read the body, parse the events, answer 202. Nothing is durable.

Not here: measuring it (gateway.py). Run `python -m benchmarks.parse_only`; it prints its address.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

import uvicorn
import uvloop

from bems_streams.domain.event import Event, parse_event
from bems_streams.flows.accept import Many, One, split
from bems_streams.gateway.http import http_config
from bems_streams.gateway.server import collect_less_garbage, listen

ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]
HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def app(scope: ASGIMessage, receive: Receive, send: Send) -> None:
    """ASGI."""
    if scope["path"] == "/readyz":
        await respond(send, 200)
        return
    good = all(isinstance(parse_event(raw), Event) for raw in raws_of(await read_body(receive)))
    await respond(send, 202 if good else 400)


async def read_body(receive: Receive) -> bytes:
    """All of it."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    return body


def raws_of(body: bytes) -> Sequence[bytes]:
    """The events in it; one that is none when it is a broken array."""
    parts = split(body)
    if isinstance(parts, One):
        return [parts.raw]
    return parts.raws if isinstance(parts, Many) else [b""]


async def respond(send: Send, status: int) -> None:
    """An empty object."""
    await send({"type": "http.response.start", "status": status, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})


def serve(application: Callable[[ASGIMessage, Receive, Send], Awaitable[None]]) -> None:
    """Until interrupted; prints the address."""
    listener = listen("127.0.0.1", 0)
    print(f"serving: http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    config = http_config(application, log_level="error")
    collect_less_garbage()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    serve(app)
