"""The sink's loop: batches of events, invoice states and alerts into the store."""

from typing import Any

from bems_streams.flows.deliver import deliver
from bems_streams.flows.store import Store
from bems_streams.runtime.ownership import Ownership
from bems_streams.runtime.work import coalesced

MAX_RECORDS = 5000
PACE_SECONDS = 0.1
"""Between two transactions while little waits: each costs some 2 ms of CPU, whatever is in it, and fetches of several
brokers would ask for thirty a second. It delays what is visible by half of it on average.
"""


def add_sink(app: Any, channel: Any, ownership: Ownership, store: Store, *, pace_seconds: float = PACE_SECONDS) -> None:
    """Register the loop with the application."""

    @app.agent(channel, name="sink")
    async def sink(stream: Any) -> None:
        async for work in coalesced(app, stream, MAX_RECORDS, pace_seconds):
            async with work, ownership.hold(work):
                await deliver(store, work.records)
