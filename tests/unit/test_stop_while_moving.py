"""An orderly stop that comes while partitions move."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bems_streams.runtime.transport import BatchConsumer


class Suspended:
    """As much of a consumer as its drain sees while the flow is suspended."""

    def __init__(self, *, stopping: bool) -> None:
        self.app = SimpleNamespace(should_stop=stopping)
        self._stopped = asyncio.Event()
        self.flow_active = False
        self.can_resume_flow = asyncio.Event()
        self.waits = asyncio.Event()

    async def wait(self, resumed: asyncio.Event) -> None:
        """Until partitions have moved."""
        self.waits.set()
        await resumed.wait()

    async def _drain_until_stopped(self, fetcher: Any) -> None:
        await BatchConsumer._drain_until_stopped(self, fetcher)  # type: ignore[arg-type]


async def cancelled(consumer: Suspended) -> None:
    """The drain, cancelled as Faust does when it stops its fetcher."""
    fetcher = SimpleNamespace(_stopped=asyncio.Event())
    draining = asyncio.ensure_future(BatchConsumer._drain_messages(consumer, fetcher))  # type: ignore[arg-type]
    await consumer.waits.wait()
    draining.cancel()
    await draining


async def test_an_orderly_stop_while_partitions_move_is_no_crash() -> None:
    """Faust calls a fetcher that is cancelled in a rebalance crashed, and a crash ends the worker with 70."""
    await cancelled(Suspended(stopping=True))


async def test_a_cancelled_drain_of_a_running_worker_is_one() -> None:
    """A worker that goes on without fetching must not look alive."""
    with pytest.raises(asyncio.CancelledError):
        await cancelled(Suspended(stopping=False))
