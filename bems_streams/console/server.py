"""Runs the console's app until SIGTERM or SIGINT, then lets requests under way end.

Not here: which parts the app is made of (cli/console.py).
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.applications import Starlette

GRACE_SECONDS: Final = 5


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process by the signal instead of with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. OSError when the address is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


async def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until a signal."""
    server = _Uvicorn(
        uvicorn.Config(
            app,
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets=[listener])
