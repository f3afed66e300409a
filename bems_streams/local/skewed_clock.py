"""A wall clock that is wrong on request, for proofs: by the seconds that a file holds.

Not here: who writes the file (prove/cluster.py), which processes have such a clock (agents/worker.py).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bems_streams.adapters.clock import SystemClock
from bems_streams.ports import Clock

VARIABLE: Final = "BEMS_CLOCK_OFFSET_FILE"  # of config.Settings
LOOK_SECONDS: Final = 0.2


def clock_of(path: Path | None) -> Clock:
    """The machine's clock; with a file, one that is wrong by what the file holds."""
    return SystemClock() if path is None else SkewedClock(path, SystemClock())


def set_offset(path: Path, seconds: float) -> None:
    """Make the clocks that look at this file wrong by so much; 0 makes them right. Seen within LOOK_SECONDS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(f"{seconds!r}\n", encoding="ascii")
    new.replace(path)


class SkewedClock:
    """`Clock` of a machine whose clock jumps. Right without its file; ValueError for one without a number."""

    def __init__(self, path: Path, inner: Clock, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._inner = inner
        self._now = now
        self._look_at = float("-inf")
        self._offset_us = 0

    def now_us(self) -> int:
        """Microseconds since 1970 UTC, wrong by the offset."""
        now_seconds = self._now()
        if now_seconds >= self._look_at:
            self._look_at = now_seconds + LOOK_SECONDS
            self._offset_us = self._offset()
        return self._inner.now_us() + self._offset_us

    def _offset(self) -> int:
        try:
            text = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            return 0
        try:
            return round(float(text) * 1e6)
        except ValueError as error:
            raise ValueError(f"{self._path} holds {text!r}: write the seconds by which the clock is wrong") from error
