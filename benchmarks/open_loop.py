"""Posts events at a given rate, whether or not the gateway keeps up: each request has its time, and late is counted.

A process of its own, so that what it uses is no part of what it measures: `python -m benchmarks.open_loop --url URL
--rate 1000 --seconds 30 --run 1 --json FILE`. Not here: what is sent (journeys.py), keeping connections busy
(http_load.py).
"""

import asyncio
import contextlib
import json
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import click
import uvloop

from benchmarks.journeys import EVENTS_PER_REQUEST, Journeys, gap_of

ANSWER_SECONDS: Final = 30.0
ACCEPTED: Final = 202
LATE_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of the load. Events unless a name says otherwise; latencies count from the time intended.

    unsent      their time came while every connection was busy, and never one was free
    unanswered  sent, and no answer within half a minute after the last
    late        sent more than 0.1 s after their time
    """

    seconds: float
    offered: int
    accepted: int
    refused: int
    unsent: int
    unanswered: int
    late: int
    answer_p50_ms: float
    answer_p99_ms: float


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time. Answers must carry a Content-Length, as the gateway's do."""

    def __init__(self, answered: Callable[["_Connection", int, float], None]) -> None:
        self._answered = answered
        self._buffer = bytearray()
        self._wanted = 0
        self._intended = 0.0
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, not a subclass

    def send(self, request: bytes, intended: float) -> None:
        self._intended = intended
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._wanted:
            head_end = self._buffer.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = bytes(self._buffer[:head_end]).lower()
            self._wanted = head_end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self._buffer) >= self._wanted:
            status = int(self._buffer[9:12])
            self._buffer.clear()
            self._wanted = 0
            self._answered(self, status, self._intended)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()  # a request under way stays unanswered, and is counted as such

    async def close(self) -> None:
        self._transport.close()
        await self._closed.wait()


class OpenLoop:
    """One run: request n is due n / rate seconds after the start."""

    def __init__(self, journeys: Journeys, rate: float, seconds: float, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._answer_seconds = answer_seconds
        self._journeys = journeys
        self._interval = EVENTS_PER_REQUEST / rate
        self._requests = int(seconds / self._interval)
        self._seconds = seconds
        self._free: deque[_Connection] = deque()
        self._due: deque[tuple[int, float]] = deque()
        self._statuses: Counter[int] = Counter()
        self._latencies: list[float] = []
        self._sent = self._late = 0
        self._all_answered = asyncio.Event()
        self._stopped = False

    def stop(self) -> None:
        """End before the time is up; what was offered until then counts."""
        self._stopped = True

    async def run(self, host: str, port: int, connections: int, start_at: float) -> Offered:
        """Send from `start_at` (seconds since 1970) on."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(self._answered), host, port)
            self._free.append(connection)
        opened = list(self._free)
        started = loop.time() + max(0.0, start_at - time.time())
        for number in range(self._requests):
            intended = started + number * self._interval
            if (wait := intended - loop.time()) > 0:
                await asyncio.sleep(wait)
            elif number % connections == 0:
                await asyncio.sleep(0)  # behind its times, it still has to hear answers
            if self._stopped:
                self._requests, self._seconds = number, loop.time() - started
                break
            self._due.append((number, intended))
            self._send_due()
        await asyncio.sleep(max(0.0, started + self._seconds - loop.time()))
        unsent = len(self._due)
        self._due.clear()
        await self._await_answers()
        for connection in opened:
            await connection.close()
        return self._offered(unsent)

    def _send_due(self) -> None:
        while self._due and self._free:
            number, intended = self._due.popleft()
            self._late += asyncio.get_running_loop().time() - intended > LATE_SECONDS
            self._sent += 1
            self._free.popleft().send(self._journeys.request(number), intended)

    def _answered(self, connection: _Connection, status: int, intended: float) -> None:
        self._statuses[status] += 1
        self._latencies.append(asyncio.get_running_loop().time() - intended)
        self._free.append(connection)
        self._send_due()
        if len(self._latencies) == self._sent:
            self._all_answered.set()

    async def _await_answers(self) -> None:
        self._all_answered.clear()
        if len(self._latencies) < self._sent:
            with contextlib.suppress(TimeoutError):  # what has no answer by then is counted as such
                await asyncio.wait_for(self._all_answered.wait(), self._answer_seconds)

    def _offered(self, unsent: int) -> Offered:
        latencies = sorted(self._latencies) or [float("nan")]
        accepted, answered = self._statuses[ACCEPTED], self._statuses.total()
        return Offered(
            seconds=self._seconds,
            offered=self._requests * EVENTS_PER_REQUEST,
            accepted=accepted * EVENTS_PER_REQUEST,
            refused=(answered - accepted) * EVENTS_PER_REQUEST,
            unsent=unsent * EVENTS_PER_REQUEST,
            unanswered=(self._sent - answered) * EVENTS_PER_REQUEST,
            late=self._late * EVENTS_PER_REQUEST,
            answer_p50_ms=1000 * latencies[len(latencies) // 2],
            answer_p99_ms=1000 * latencies[int(len(latencies) * 0.99)],
        )


@click.command()
@click.option("--url", required=True, help="Of the gateway.")
@click.option("--rate", type=click.FloatRange(min=1), required=True, help="Events per second.")
@click.option("--seconds", type=click.FloatRange(min=0.1), required=True)
@click.option("--run", type=int, required=True, help="Tells the invoices of this run from those of others.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--gap-seconds", type=float, default=5.0, show_default=True, help="Between two events of one invoice.")
@click.option("--connections", type=click.IntRange(1), default=32, show_default=True)
@click.option("--start-at", type=float, default=0.0, help="Seconds since 1970; by default at once.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), required=True)
def main(
    url: str,
    rate: float,
    seconds: float,
    run: int,
    seed: int,
    gap_seconds: float,
    connections: int,
    start_at: float,
    json_path: Path,
) -> None:
    """Post arrays of 100 events, and write what became of them."""
    address = urlsplit(url)
    loop = OpenLoop(Journeys(seed, run, gap_of(rate, gap_seconds)), rate, seconds)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().add_signal_handler(signal.SIGTERM, loop.stop)
        offered = runner.run(loop.run(address.hostname or "", address.port or 80, connections, start_at))
    json_path.write_text(json.dumps(asdict(offered)), encoding="utf-8")


if __name__ == "__main__":
    main()
