"""One step of the end-to-end benchmark: a steady rate for some time, and everything that was seen of it.

Not here: which rates (end_to_end.py), what a cell is asked (cells.py).
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bems_streams.ports import LogUnavailableError
from benchmarks.cells import MeasuredCell, RoleMeter, by_role, machine_cpu_seconds
from benchmarks.figures import Run
from benchmarks.open_loop import ANSWER_SECONDS, Offered

LEAD_SECONDS: Final = 2.0
"""The load is started that long before its first event, so that starting it is not measured."""
LOOK_SECONDS: Final = 1.0
WINDOW_SECONDS: Final = 10.0
PROMPT_SECONDS: Final = 2.0
ENOUGH: Final = 0.99
STEADY_SHARE: Final = 0.01
"""A backlog that grows by no more of the rate than this does not grow."""
GATHERED_SECONDS: Final = 1.0
LOAD: Final = "load"


class Behind(NamedTuple):
    """At one moment of a step: records accepted and not yet in the store, or not yet committed by the tracker."""

    second: float
    sink: int
    tracker: int

    @property
    def most(self) -> int:
        """Of whichever is further behind."""
        return max(self.sink, self.tracker)


@dataclass(frozen=True)
class Step:
    """One rate, held or not. `cpu_us`: CPU per event that the role handled, the load among them."""

    rate: float
    seconds: float
    held: bool
    cpu_us: Mapping[str, float]
    run: Run


def hold(measured: MeasuredCell, rate: float, seconds: float, gap_seconds: float) -> Step:
    """Offer `rate` events a second for that long, then wait until all is accounted for."""
    before, seen_before, restarts = measured.progress(), measured.seen_within(PROMPT_SECONDS), measured.restarts()
    start_at, path = time.time() + LEAD_SECONDS, measured.folder / "offered.json"
    with loading(measured.cell.addresses.gateway, rate, seconds, gap_seconds, start_at, path) as load:
        time.sleep(max(0.0, start_at - time.time()))
        everybody = machine_cpu_seconds()
        with RoleMeter(lambda: {**measured.pids(), LOAD: [load.pid]}) as meter, Backlog(measured) as backlog:
            wait(rate, seconds)
        everybody = machine_cpu_seconds() - everybody
        done = measured.progress().since(before)
        load.wait(ANSWER_SECONDS + 10)
    offered = Offered(**json.loads(path.read_bytes()))
    closed = measured.settled().settled
    within, seen = (after - before for after, before in zip(measured.seen_within(2.0), seen_before, strict=True))
    usage = meter.usage
    extra = {
        "accepted_per_second": offered.accepted / seconds,
        "offered_per_second": offered.offered / seconds,
        **visible(measured, start_at, seconds),
        "visible_in_2_s_share": within / max(1, seen),
        "backlog_most_events": float(max((b.most for b in backlog.seen), default=0)),
        "backlog_growth_per_second": growth_per_second(backlog.seen),
        "answer_p50_ms": offered.answer_p50_ms,
        "answer_p99_ms": offered.answer_p99_ms,
        "late_share": offered.late / offered.offered,
        "ledger_closed": float(closed),
        "restarts": float(measured.restarts() - restarts),
        "others_cpu_share": 1 - sum(used.cpu_seconds for used in usage.values()) / max(0.001, everybody),
        **by_role(usage, done.accepted, {"tracker": done.tracked, "sink": done.stored}),
    }
    held = offered.accepted >= ENOUGH * offered.offered and not extra["restarts"] and steady(backlog.seen, rate)
    cell = [used for role, used in usage.items() if role != LOAD]
    cpu_seconds = sum(used.cpu_seconds for used in cell)
    run = Run(done.accepted, seconds, cpu_seconds, sum(used.peak_rss_bytes for used in cell), extra)
    return Step(rate, seconds, held, {role: extra[f"{role}_cpu_us_per_event"] for role in usage}, run)


@contextmanager
def loading(
    url: str, rate: float, seconds: float, gap_seconds: float, start_at: float, path: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """The load, as a process of its own; ended with the block."""
    run = int(start_at) & 0xFFFFFFFF
    options = {"url": url, "rate": rate, "seconds": seconds, "gap-seconds": gap_seconds, "run": run, "json": path}
    command = [sys.executable, "-m", "benchmarks.open_loop", "--start-at", repr(start_at)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    load = subprocess.Popen(command)
    try:
        yield load
        if load.poll():
            raise click.ClickException(f"the load ended with {load.returncode}")
    finally:
        load.terminate()  # it still waits for answers, and writes what it offered until then
        load.wait(ANSWER_SECONDS + 10)


def wait(rate: float, seconds: float) -> None:
    """With a bar, because it may take ten minutes."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    end = time.monotonic() + seconds
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=1, transient=True) as bar:
        task = bar.add_task(f"{rate:,.0f} events/s", total=seconds)
        while (left := end - time.monotonic()) > 0:
            bar.update(task, completed=seconds - left)
            time.sleep(min(1.0, left))


def visible(measured: MeasuredCell, start_at: float, seconds: float) -> dict[str, float]:
    """What the store says of events accepted in the step; the worst of its windows of ten seconds beside it."""
    begin_us, end_us = round(start_at * 1e6), round((start_at + seconds) * 1e6)
    window_us = round(WINDOW_SECONDS * 1e6)
    windows = [measured.reader.visibility(at, min(end_us, at + window_us)) for at in range(begin_us, end_us, window_us)]
    whole = measured.reader.visibility(begin_us, end_us)
    nothing = float("nan")
    return {
        "visible_p50_ms": nothing if whole.p50_ms is None else whole.p50_ms,
        "visible_p99_ms": nothing if whole.p99_ms is None else whole.p99_ms,
        "visible_worst_window_p99_ms": max((w.p99_ms for w in windows if w.p99_ms is not None), default=nothing),
    }


class Backlog:
    """Looks once a second how far sink and tracker are behind, on a thread of its own while the context lasts."""

    def __init__(self, measured: MeasuredCell) -> None:
        self._measured = measured
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="backlog", daemon=True)
        self._began = 0.0
        self.seen: list[Behind] = []

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                now = self._measured.progress()
            except LogUnavailableError:
                continue  # a busy broker: look again
            second = time.monotonic() - self._began
            self.seen.append(Behind(second, max(0, now.accepted - now.stored), max(0, now.accepted - now.tracked)))

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()


def steady(seen: Sequence[Behind], rate: float) -> bool:
    """Whether the backlog does not grow. What comes in during one second is no backlog yet, it is being gathered."""
    last = [behind.most for behind in seen[-max(1, len(seen) // 4) :]]
    gathered = not last or sum(last) / len(last) <= GATHERED_SECONDS * rate
    return gathered or growth_per_second(seen) <= STEADY_SHARE * rate


def growth_per_second(seen: Sequence[Behind]) -> float:
    """By how much the larger of both backlogs grew between the second and the last quarter; 0 of too few looks."""
    quarter = len(seen) // 4
    if not quarter:
        return 0.0
    early, late = seen[quarter : 2 * quarter], seen[-quarter:]
    elapsed = sum(b.second for b in late) / quarter - sum(b.second for b in early) / quarter
    return max(
        (sum(b.sink for b in late) - sum(b.sink for b in early)) / quarter / elapsed,
        (sum(b.tracker for b in late) - sum(b.tracker for b in early)) / quarter / elapsed,
    )
