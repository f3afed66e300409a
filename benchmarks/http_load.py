"""Keeps a number of HTTP/1.1 connections busy with prepared requests and measures the answers.

Not here: what is measured (gateway.py).
"""

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import NamedTuple, cast

import uvloop


class Load(NamedTuple):
    """What one run saw. Latencies in milliseconds."""

    seconds: float
    answers: int
    refused: int
    p50_ms: float
    p99_ms: float


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def load(host: str, port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Send one request after the other on each connection until time is up."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(host, port, requests, connections, seconds))


async def _load(host: str, port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    until = started + seconds
    source = cycle(requests)
    senders = [_Sender(source, until, loop.create_future()) for _ in range(connections)]
    for sender in senders:
        await loop.create_connection(lambda sender=sender: sender, host, port)  # type: ignore[misc]
    async with asyncio.timeout(seconds + 60):
        await asyncio.gather(*(sender.done for sender in senders))
    elapsed = time.perf_counter() - started
    latencies = sorted(latency for sender in senders for latency in sender.latencies)
    return Load(
        elapsed,
        len(latencies),
        sum(sender.refused for sender in senders),
        1000 * statistics.median(latencies),
        1000 * latencies[int(len(latencies) * 0.99)],
    )


class _Sender(asyncio.Protocol):
    """One connection. Answers must carry a Content-Length, as the gateway's do."""

    def __init__(self, source: Iterator[bytes], until: float, done: "asyncio.Future[None]") -> None:
        self._source = source
        self._until = until
        self._buffer = bytearray()
        self._sent = 0.0
        self.done = done
        self.latencies: list[float] = []
        self.refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._source))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._buffer[:head_end])
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self._buffer) < head_end + 4 + length:
            return
        now = time.perf_counter()
        self.latencies.append(now - self._sent)
        self.refused += not head.startswith(b"HTTP/1.1 202")
        self._buffer.clear()
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.done.set_exception(exc)
        else:
            self.done.set_result(None)
