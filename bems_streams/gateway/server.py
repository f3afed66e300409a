"""Runs the gateway's application until a signal: listen, serve, stop without breaking a promise.

Not here: which parts it is made of (cli/gateway.py).
"""

import asyncio
import contextlib
import gc
import logging
import math
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass

import uvicorn

from bems_streams.gateway.app import Gateway
from bems_streams.gateway.availability import Availability, watch
from bems_streams.gateway.http import http_config

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
IDLE_CONNECTION_SECONDS = 75  # longer than load balancers keep connections, so that they close first
BACKLOG = 2048
COLLECT_AFTER_OBJECTS = 200_000


@dataclass(frozen=True, slots=True)
class Running:
    """What the server needs besides the application. `close` gives up records still under way and returns how many."""

    availability: Availability
    check: Callable[[], str | None]
    close: Callable[[], Awaitable[int]]
    grace_seconds: float


class _Uvicorn(uvicorn.Server):
    """uvicorn without its own signal handling: `serve` alone says what a signal does, and that the exit code is 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. OSError when the address is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def collect_less_garbage() -> None:
    """What the process is made of stays; what requests leave is freed by reference counts, cycles are rare.

    By default Python looks for cycles whenever 700 objects are there that were not before, which a few requests that
    wait for the broker are: 8 of the 60 us of a request, 2.4 of the 12 us of an event in a batch. For all the process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)


async def serve(app: Gateway, listener: socket.socket, running: Running) -> None:
    """Serve until SIGTERM or SIGINT, then: not ready, no new connections, requests under way end, producer closes."""
    server = _Uvicorn(
        http_config(
            app,
            log_config=None,
            backlog=BACKLOG,
            timeout_keep_alive=IDLE_CONNECTION_SECONDS,
            timeout_graceful_shutdown=math.ceil(running.grace_seconds),
        )
    )

    def stop() -> None:
        log.info("stopping: %d events await the broker", app.in_flight.events)
        running.availability.stop()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    watcher = asyncio.create_task(watch(running.availability, running.check, CHECK_SECONDS))
    try:
        await server.serve(sockets=[listener])
    finally:
        watcher.cancel()
        given_up = await running.close()
        if given_up:
            log.warning("gave up %d records that the broker did not confirm; nobody was told 202 for them", given_up)
