"""uvicorn's HTTP protocol, with each answer in one write.

Not here: what is answered (app.py), when the server starts and stops (server.py).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Http(HttpToolsProtocol):
    """uvicorn writes the head of an answer and then its body. uvloop makes a system call and a packet of each write,
    and each wakes the receiver, who on a busy machine takes the processor at once (docs/performance/gateway.md).
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Write through a collector from now on."""
        super().connection_made(transport)
        self.transport = Collector(transport, self.loop.call_soon)  # type: ignore[assignment]


class Collector:
    """The part of a transport that uvicorn uses. What is written in one turn of the event loop goes out together."""

    __slots__ = ("_call_soon", "_transport", "_written", "get_extra_info", "is_closing")

    def __init__(self, transport: asyncio.Transport, call_soon: Callable[[Callable[[], None]], Any]) -> None:
        self._transport = transport
        self._call_soon = call_soon
        self._written: list[bytes] = []
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        """Keep it for the end of the turn."""
        if not self._written:
            self._call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """After what was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()


def http_config(app: Any, **settings: Any) -> uvicorn.Config:
    """What every server of events has in common."""
    return uvicorn.Config(
        app,
        http=Http,
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks who the sender is
        **settings,
    )
