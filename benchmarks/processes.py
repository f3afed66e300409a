"""CPU time and peak memory of processes over an interval, whoever started them.

    with Meter(with_children(worker.pid)) as meter:
        ...
    run = Run(events, meter.usage.seconds, meter.usage.cpu_seconds, meter.usage.peak_rss_bytes)

Not here: starting or stopping processes (bems_streams/local/processes.py).
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import psutil

SAMPLE_SECONDS: Final = 0.1

Processes = Callable[[], Iterable[psutil.Process]]
"""Those that exist at the moment of the call."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes used between the start and the end of a Meter.

    cpu_seconds     user and system time; the kernel counts it in steps of 10 ms a process
    peak_rss_bytes  the largest sum of resident memory that a sample saw; pages that processes share count for each
    """

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


def only(*pids: int) -> Processes:
    """These processes without their children. psutil.NoSuchProcess when one does not exist."""
    processes = [psutil.Process(pid) for pid in pids]
    return lambda: processes


def with_children(*pids: int) -> Processes:
    """These processes and whatever they start, at any depth. psutil.NoSuchProcess when one does not exist."""
    roots = [psutil.Process(pid) for pid in pids]

    def family() -> Iterable[psutil.Process]:
        for root in roots:
            yield root
            try:
                yield from root.children(recursive=True)
            except psutil.NoSuchProcess:
                continue  # it ended; what it used is in an earlier sample

    return family


class Meter:
    """Samples from entry to exit. What a process uses after the last sample that saw it alive (0.1 s) is not counted.

    A process that exists at entry counts from there; one that starts later counts in full.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._before: dict[psutil.Process, float] = {}
        self._latest: dict[psutil.Process, float] = {}
        self._peak_rss_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)
        self._began = 0.0
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage:
        """Known after exit."""
        assert self._usage is not None, "the interval is not over"
        return self._usage

    def __enter__(self) -> Self:
        self._sample()
        self._before = dict(self._latest)
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._began
        self._stop.set()
        self._thread.join()
        self._sample()
        used = sum(cpu - self._before.get(process, 0.0) for process, cpu in self._latest.items())
        self._usage = Usage(seconds, used, self._peak_rss_bytes)

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        rss_bytes = 0
        for process in self._processes():
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    self._latest[process] = times.user + times.system
                    rss_bytes += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # it ended; its last sample stays
        self._peak_rss_bytes = max(self._peak_rss_bytes, rss_bytes)
