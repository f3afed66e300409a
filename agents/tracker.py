"""The tracker's loops: batches of stage events into invoice state, and deadlines on the wall clock."""

from typing import Any

from bems_streams.flows.deliver import deliver
from bems_streams.flows.track import Track
from bems_streams.flows.watch import Watch
from bems_streams.runtime.failfast import fail_fast
from bems_streams.runtime.ownership import Ownership
from bems_streams.runtime.work import coalesced

MAX_RECORDS = 64_000
"""In a backlog, the more events of an invoice come together, the fewer states and status records are written. Of 4,000
invoices under way, CPU per event: 23 µs at 8,000, 19 at 32,000, 16.5 at 64,000, no less beyond.
"""
WATCH_SECONDS = 1.0
PACE_SECONDS = 0.25
"""Between two transactions while little waits: each is 6 requests for every partition number. At 2,000 events/s, 4
a second instead of 7 to 13. States appear later by half of it on average; events do not.
"""


def add_tracker(
    app: Any, channel: Any, ownership: Ownership, track: Track, watch: Watch, *, pace_seconds: float = PACE_SECONDS
) -> None:
    """Register both loops with the application."""

    @app.agent(channel, name="tracker")
    async def tracker(stream: Any) -> None:
        async for work in coalesced(app, stream, MAX_RECORDS, pace_seconds):
            async with work, ownership.hold(work):
                await deliver(track, [batch.records for batch in work.batches])

    @app.timer(WATCH_SECONDS, name="watch")
    async def watch_deadlines() -> None:
        with fail_fast("watching deadlines"):
            async with ownership.hold_all() as numbers:
                await deliver(watch, numbers)
