"""Sends prepared requests on a number of HTTP/1.1 connections and measures the answers.

`load`: each connection sends as soon as it has its answer. `load_at`: at a rate that the server cannot slow down.
Not here: what is measured (gateway.py).
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Final, NamedTuple, Protocol, cast

import uvloop

ACCEPTED: Final = b"HTTP/1.1 202"
GRACE_SECONDS: Final = 60.0
TICK_SECONDS: Final = 0.001


class Load(NamedTuple):
    """What one run saw. Latencies in milliseconds; `cpu_seconds`: what sending and measuring took of this process."""

    seconds: float
    answers: int
    refused: int
    p50_ms: float
    p99_ms: float
    cpu_seconds: float


def post(path: str, body: bytes) -> bytes:
    """A request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def load(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """One request after the other on each connection, until time is up."""
    return _run(port, connections, seconds, lambda began: _Ceaseless(cycle(requests), began + seconds))


def load_at(port: int, requests: Sequence[bytes], connections: int, seconds: float, requests_per_second: float) -> Load:
    """A request whenever one is due, answered or not. Latency counts from when it was due, not from when it was sent:
    a server that falls behind is not given the time that it makes requests wait for a connection.
    """
    interval = 1 / requests_per_second
    return _run(port, connections, seconds, lambda began: _Due(cycle(requests), began, began + seconds, interval))


class _Source(Protocol):
    def free(self, sender: "_Sender", now: float) -> None:
        """A connection is new, or has its answer."""


class _Ceaseless:
    """Always has a request until time is up."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self._requests = requests
        self._until = until

    def free(self, sender: "_Sender", now: float) -> None:
        if now < self._until:
            sender.send(next(self._requests), now)
        else:
            sender.close()


class _Due:
    """Has a request every `interval` seconds, for whichever connection is free."""

    def __init__(self, requests: Iterator[bytes], began: float, until: float, interval: float) -> None:
        self._requests = requests
        self._due = began
        self._until = until
        self._interval = interval
        self._free: list[_Sender] = []
        self._tick()

    def free(self, sender: "_Sender", now: float) -> None:
        self._free.append(sender)
        self._send(now)

    def _tick(self) -> None:
        self._send(time.perf_counter())
        if self._due < self._until:
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _send(self, now: float) -> None:
        while self._free and self._due <= now and self._due < self._until:
            self._free.pop().send(next(self._requests), self._due)
            self._due += self._interval
        if self._due >= self._until:
            while self._free:
                self._free.pop().close()


def _run(port: int, connections: int, seconds: float, source: Callable[[float], _Source]) -> Load:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(port, connections, seconds, source))


async def _load(port: int, connections: int, seconds: float, source: Callable[[float], _Source]) -> Load:
    loop = asyncio.get_running_loop()
    senders = [_Sender(loop.create_future()) for _ in range(connections)]
    for sender in senders:
        await loop.create_connection(lambda sender=sender: sender, "127.0.0.1", port)  # type: ignore[misc]
    used, began = time.process_time(), time.perf_counter()
    requests = source(began)
    for sender in senders:
        sender.begin(requests)
    async with asyncio.timeout(seconds + GRACE_SECONDS):
        await asyncio.gather(*(sender.done for sender in senders))
    ended = time.perf_counter()
    latencies = sorted(latency for sender in senders for latency in sender.latencies)
    return Load(
        ended - began,
        len(latencies),
        sum(sender.refused for sender in senders),
        1000 * statistics.median(latencies),
        1000 * latencies[int(len(latencies) * 0.99)],
        time.process_time() - used,
    )


class _Sender(asyncio.Protocol):
    """One connection. Answers must carry a Content-Length and come one by one, as this sends only after an answer."""

    def __init__(self, done: "asyncio.Future[None]") -> None:
        self._answer = b""
        self._since = 0.0
        self._finished = False
        self.done = done
        self.latencies: list[float] = []
        self.refused = 0

    def begin(self, source: _Source) -> None:
        """Ask for the first request."""
        self._source = source
        source.free(self, time.perf_counter())

    def send(self, request: bytes, since: float) -> None:
        """One request whose latency counts from `since`."""
        self._since = since
        self._transport.write(request)

    def close(self) -> None:
        """There is nothing more to send."""
        self._finished = True
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass

    def data_received(self, data: bytes) -> None:
        if self._answer:
            data = self._answer + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0 or len(data) < head_end + 4 + _body_length(data, head_end):
            self._answer = data
            return
        now = time.perf_counter()
        self._answer = b""
        self.latencies.append(now - self._since)
        self.refused += not data.startswith(ACCEPTED)
        self._source.free(self, now)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._finished:
            self.done.set_result(None)
        else:
            self.done.set_exception(exc or ConnectionResetError("the server closed a connection that was in use"))


def _body_length(answer: bytes, head_end: int) -> int:
    at = answer.find(b"content-length: ", 0, head_end)
    if at < 0:  # servers may write the name as they like
        at = answer[:head_end].lower().index(b"content-length: ")
    return int(answer[at + 16 : answer.index(b"\r", at)])
