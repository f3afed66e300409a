"""The least that a gateway could do: read the body, parse the events, answer 202. Nothing is durable.

Not here: measuring it (gateway.py). Run `python -m benchmarks.parse_only`; it prints its address.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
import uvloop

from bems_streams.domain.event import Event, parse_event
from bems_streams.flows.accept import Many, One, split
from bems_streams.gateway.server import listen

Message = MutableMapping[str, Any]
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """ASGI."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    parts = split(body)
    raws = [parts.raw] if isinstance(parts, One) else parts.raws if isinstance(parts, Many) else [b""]
    good = all(isinstance(parse_event(raw), Event) for raw in raws)
    await send({"type": "http.response.start", "status": 202 if good else 400, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})


def main() -> None:
    """Serve until interrupted."""
    listener = listen("127.0.0.1", 0)
    print(f"parse only: http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", access_log=False, log_level="error", proxy_headers=False
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
