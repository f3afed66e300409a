"""The least that makes events durable: parse, hand to librdkafka, answer 202 once all are acknowledged.

For orientation: no limits, no metrics, no headers on records, no receipts. Not here: measuring it (gateway.py).
Run `python -m benchmarks.gateway_peers.librdkafka_app --bootstrap HOST:PORT`; it prints its address.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import click
from confluent_kafka import KafkaError, Message, Producer

from bems_streams.domain.event import Event, parse_event
from benchmarks.parse_only import ASGIMessage, raws_of, read_body, respond, serve

TICK_SECONDS: Final = 0.001
TOPIC: Final = "invoices.ingestion"


class App:
    """ASGI. Serves delivery reports from the event loop."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "linger.ms": 1,
            }
        )
        self._waiting = 0

    async def __call__(
        self,
        scope: ASGIMessage,
        receive: Callable[[], Awaitable[ASGIMessage]],
        send: Callable[[ASGIMessage], Awaitable[None]],
    ) -> None:
        if scope["path"] == "/readyz":
            await respond(send, 200)
            return
        events = [(raw, parse_event(raw)) for raw in raws_of(await read_body(receive))]
        good = await self._append([(raw, event) for raw, event in events if isinstance(event, Event)])
        await respond(send, 202 if good == len(events) else 400)

    async def _append(self, events: list[tuple[bytes, Event]]) -> int:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        left, good = len(events), 0

        def delivered(error: KafkaError | None, _: Message) -> None:
            nonlocal left, good
            left -= 1
            good += error is None
            if left == 0:
                done.set_result(good)

        for raw, event in events:
            self._producer.produce(TOPIC, raw, event.invoice_id.encode(), on_delivery=delivered)
        self._waiting += 1
        if self._waiting == 1:
            loop.call_later(TICK_SECONDS, self._tick, loop)
        try:
            return await done
        finally:
            self._waiting -= 1

    def _tick(self, loop: asyncio.AbstractEventLoop) -> Any:
        self._producer.poll(0)
        if self._waiting:
            loop.call_later(TICK_SECONDS, self._tick, loop)


@click.command()
@click.option("--bootstrap", required=True)
def main(bootstrap: str) -> None:
    """Serve until interrupted."""
    serve(App(bootstrap))


if __name__ == "__main__":
    main()
