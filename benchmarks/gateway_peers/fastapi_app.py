"""The gateway as FastAPI's and aiokafka's documentation would have it: a model, a route, `send_and_wait`.

Run `python benchmarks/gateway_peers/fastapi_app.py [--bootstrap HOST:PORT]` in the environment of the peers; without a
broker it only parses. Not here: anything of our own; measuring it (gateway.py).
"""

import argparse
import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from functools import partial

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, HTTPException  # type: ignore[import-not-found]
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

STAGES = ("ingestion", "reconciliation", "authorization", "posting")


class Event(BaseModel):
    """The same fields and bounds as ours."""

    model_config = ConfigDict(extra="forbid")

    event_id: str = Field(min_length=1, max_length=128)
    source: str = Field(min_length=1, max_length=128)
    occurred_at: AwareDatetime
    invoice_id: str = Field(min_length=1, max_length=128)
    stage: str = Field(min_length=1, max_length=128)
    payee_code: str | None = Field(None, min_length=1, max_length=256)
    legal_entity_id: str | None = Field(None, min_length=1, max_length=256)
    invoice_date: date | None = None
    invoice_due_date: date | None = None
    invoice_amount: Decimal | None = None
    currency: str | None = Field(None, pattern="^[A-Z]{3}$")
    matched_amount: Decimal | None = None
    authorized_amount: Decimal | None = None
    ppv: Decimal | None = None
    pqv: Decimal | None = None
    activity: str | None = Field(None, min_length=1, max_length=256)
    attributes: dict[str, str] | None = Field(None, max_length=32)


class Receipt(BaseModel):
    """Where the event is; nowhere when nothing was written."""

    event_id: str
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    accepted_at: datetime | None = None


Take = Callable[[Event], Awaitable[Receipt]]


async def write(producer: AIOKafkaProducer, event: Event) -> Receipt:
    """One event, acknowledged by all replicas in sync."""
    value = event.model_dump_json(exclude_none=True).encode()
    written = await producer.send_and_wait(f"invoices.{event.stage}", value, key=event.invoice_id.encode())
    return Receipt(
        event_id=event.event_id,
        topic=written.topic,
        partition=written.partition,
        offset=written.offset,
        accepted_at=datetime.fromtimestamp(written.timestamp / 1000).astimezone(),
    )


async def forget(event: Event) -> Receipt:
    """Nothing is written."""
    return Receipt(event_id=event.event_id)


def build(bootstrap: str | None) -> FastAPI:
    """The application; the producer lives as long as it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.take = forget
        if bootstrap is None:
            yield
            return
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        async with producer:
            app.state.take = partial(write, producer)
            yield

    app = FastAPI(lifespan=lifespan)

    async def ready() -> None:
        """Served once the producer is there."""

    async def events(stage: str, body: Event | list[Event]) -> Receipt | list[Receipt]:
        for event in body if isinstance(body, list) else [body]:
            if event.stage != stage or stage not in STAGES:
                raise HTTPException(400, f"{event.stage!r} is not taken here")
        take: Take = app.state.take
        if isinstance(body, Event):
            return await take(body)
        return list(await asyncio.gather(*map(take, body)))

    app.add_api_route("/readyz", ready)
    app.add_api_route("/v1/{stage}/events", events, methods=["POST"], status_code=202)
    return app


def main() -> None:
    """Serve until interrupted; prints its address."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap")
    app = build(parser.parse_args().bootstrap)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"fastapi: http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    config = uvicorn.Config(app, http="httptools", loop="uvloop", ws="none", access_log=False, log_level="error")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
