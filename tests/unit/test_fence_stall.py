"""A transaction whose coordinator went away: the client waits for ever, the worker must not."""

import threading
from collections.abc import Iterator

import pytest

from bems_streams.runtime.fence import KafkaFencedLog, StalledError
from bems_streams.runtime.membership import Membership

QUIET = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


class DeafCoordinator:
    """A producer whose group coordinator never answers; it heeds no timeout, as librdkafka 2.16 does not."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def begin_transaction(self) -> None:
        """Local."""

    def flush(self, timeout: float) -> int:
        """The brokers that hold the partitions answer."""
        return 0

    def send_offsets_to_transaction(self, *_: object) -> None:
        """Hangs."""
        self.released.wait()

    def commit_transaction(self, *_: object) -> None:
        """Once released."""


@pytest.fixture
def deaf() -> Iterator[DeafCoordinator]:
    """Lets its thread go at the end."""
    producer = DeafCoordinator()
    yield producer
    producer.released.set()


async def test_a_coordinator_that_went_away_hangs_no_worker(deaf: DeafCoordinator) -> None:
    """Its peers wait in the rebalance until it gives back what it holds: it stops, and says what to look at."""
    log = KafkaFencedLog(QUIET, "stall-0", stall_seconds=0.05)
    log._producer = deaf  # type: ignore[assignment]

    with pytest.raises(StalledError, match=r"within 0\.05 s: is a broker away"):
        try:
            await log.publish([], {("source", 0): 1}, Membership("group", 1, "member", None))
        finally:
            deaf.released.set()
