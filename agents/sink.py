"""The sink's loop: batches of events, invoice states and alerts into the store."""

from typing import Any

from bems_streams.flows.deliver import deliver
from bems_streams.flows.store import Store
from bems_streams.runtime.ownership import Ownership
from bems_streams.runtime.work import coalesced

MAX_RECORDS = 5000


def add_sink(app: Any, channel: Any, ownership: Ownership, store: Store) -> None:
    """Register the loop with the application."""

    @app.agent(channel, name="sink")
    async def sink(stream: Any) -> None:
        async for work in coalesced(app, stream, MAX_RECORDS):
            async with work, ownership.hold(work):
                await deliver(store, work.records)
