"""Visibility as a reader sees it: how long after its acceptance a query returned each event.

An upper bound: the time between two polls counts too. Not here: what the sink measures itself (metrics.py).
"""

import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from bems_streams.ports import Clock, StoreReader

POLL_SECONDS: Final = 0.02
READ_ROWS: Final = 5000
KEPT: Final = 1_000_000


class Seen(NamedTuple):
    """Nearest-rank percentiles in milliseconds; None when nothing was seen."""

    events: int
    p50_ms: float | None
    p99_ms: float | None


class VisibilityProbe:
    """Polls the store on a thread of its own while the context lasts. Counts events stored after it began."""

    def __init__(self, reader: StoreReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._latencies_us: deque[int] = deque(maxlen=KEPT)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="visibility", daemon=True)
        self._sequence = 0

    def seen(self) -> Seen:
        """So far."""
        latencies = sorted(self._latencies_us)
        return Seen(len(latencies), percentile_ms(latencies, 50), percentile_ms(latencies, 99))

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self._latencies_us += self._poll()

    def _poll(self) -> list[int]:
        rows = self._reader.stored_since(self._sequence, READ_ROWS)
        now_us = self._clock.now_us()
        self._sequence = rows[-1][0] if rows else self._sequence
        return [now_us - accepted_us for _, accepted_us, _ in rows]

    def __enter__(self) -> Self:
        while self._poll():
            """Skip what an earlier run stored."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()


def percentile_ms(latencies_us: Sequence[int], percent: int) -> float | None:
    """Nearest rank, of sorted microseconds; None of none."""
    if not latencies_us:
        return None
    rank = -(-len(latencies_us) * percent // 100)  # ceiling
    return latencies_us[rank - 1] / 1000
