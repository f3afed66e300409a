"""A console over the store in memory, asked without sockets; and rows for it."""

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.adapters.memory_reader import MemoryReader
from bems_streams.console.app import Console, build_app
from bems_streams.console.desk import Desk
from bems_streams.console.live import Live
from bems_streams.console.roles import Roles
from bems_streams.console.snapshot import Look
from bems_streams.domain.journey import Journey, Stage, StageCode
from bems_streams.health import Health
from bems_streams.metrics import ConsoleMetrics
from bems_streams.ports import Coordinates, DeadLetterRow, EventRow, InvoiceRow, StageStanding, StoreReader, Timeline

SECOND_US = 1_000_000
NOW_US = 1_700_000_000 * SECOND_US
JOURNEY = Journey((Stage("ingestion", StageCode(1), 60 * SECOND_US), Stage("posting", StageCode(2))))


class FrozenClock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.us = NOW_US

    def now_us(self) -> int:
        """See the port."""
        return self.us


class MoodyReader:
    """A reader in front of another: counts looks, and fails or hangs when told to."""

    def __init__(self, reader: MemoryReader) -> None:
        self._reader = reader
        self.looks = 0
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.created = True

    def exists(self) -> bool:
        """Whether a writer has run."""
        return self.created

    def standing(self) -> Sequence[StageStanding]:
        """Where every look passes."""
        self.looks += 1
        if self.error is not None:
            raise self.error
        assert self.go.wait(10)
        return self._reader.standing()

    def timeline(self, invoice_id: str) -> Timeline:
        """Where every search passes."""
        assert self.go.wait(10)
        return self._reader.timeline(invoice_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class Kit:
    """A console over a store in memory, asked without sockets. Looks happen when a test says so."""

    def __init__(self, hosts: frozenset[str] = frozenset(), answer: httpx.MockTransport | None = None) -> None:
        backend = MemoryBackend()
        self.store = backend.open_store()
        self.clock = FrozenClock()
        self.moody = MoodyReader(backend.open_reader())
        reader: StoreReader = self.moody  # the rest by __getattr__
        self.snapshots, self.lookups = Desk(reader, "snapshots"), Desk(reader, "lookups")
        registry = CollectorRegistry()
        look = Look(JOURNEY, self.clock, "cell-7", "eu-1", "memory:")
        self.live = Live(self.snapshots, look, ConsoleMetrics(registry))
        urls = ("http://127.0.0.1:9101", "http://127.0.0.1:9102") if answer else ()
        self.roles = Roles(urls, httpx.AsyncClient(transport=answer))
        console = Console(
            live=self.live,
            lookups=self.lookups,
            roles=self.roles,
            health=Health("console", registry, self.live.unready),
            clock=self.clock,
            gateway_url="http://127.0.0.1:8080",
            hosts=hosts,
            lookup_timeout_seconds=0.2,
        )
        transport = httpx.ASGITransport(build_app(console))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8090")

    def forget_store(self) -> None:
        """As if no writer had ever run."""
        self.moody.created = False

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask the console."""
        return await self.http.get(path, headers=headers)

    async def overview(self) -> Any:
        """The body of /api/overview after a fresh look."""
        await self.live.refresh(timeout_seconds=5)
        return (await self.get("/api/overview")).json()


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Kit]:
    """A kit whose threads and connections end with the test."""
    kit = Kit(**options)
    try:
        yield kit
    finally:
        kit.moody.go.set()
        kit.snapshots.close()
        kit.lookups.close()
        await kit.roles.close()
        await kit.http.aclose()


def event(event_id: str, invoice_id: str = "INV-1", stage: str = "ingestion", age_seconds: float = 5) -> EventRow:
    """An event accepted `age_seconds` before now and stored 40 ms later."""
    accepted_us = NOW_US - round(age_seconds * SECOND_US)
    at = Coordinates(f"invoices.{stage}", 0, int(event_id))
    return EventRow(event_id, invoice_id, stage, "erp", accepted_us, accepted_us, accepted_us + 40_000, at)


def invoice(invoice_id: str, amount: str | None, currency: str | None, **changes: Any) -> InvoiceRow:
    """An invoice that entered ingestion two minutes ago and is stuck for one."""
    stuck_us = NOW_US - 60 * SECOND_US
    row = InvoiceRow(
        invoice_id, 1, "open", "ingestion", stuck_us - 60 * SECOND_US, NOW_US, NOW_US, stuck_us, stuck_us, 1, "{}"
    )
    return row._replace(invoice_amount=amount, currency=currency, payee_code="P-1", **changes)


def dead_letter(offset: int = 9) -> DeadLetterRow:
    """A record that the sink gave up."""
    return DeadLetterRow(
        Coordinates("invoices.ingestion", 2, offset), "sink", "not_json", "not valid JSON", NOW_US, NOW_US
    )
