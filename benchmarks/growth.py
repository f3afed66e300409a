"""What an event costs the tracker as open invoices and partitions grow: CPU, reads from disk, memory.

The tracker's own decide and write over real tables; the log is in memory, so that it adds nothing that does not grow.
Every batch hits different invoices at random, the worst case: nothing is folded twice within one write.
Run `python -m benchmarks.growth [--quick] [--json FILE]`. Not here: the deadline watch (deadlines.py).
"""

import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import click
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bems_streams.flows.deliver import deliver
from bems_streams.flows.track import Track
from benchmarks.figures import Case, Goal, Run, Target, write_report
from benchmarks.in_process import InProcess

BATCH: Final = 8_000
"""More than a quarter of a second brings at 10,000 events/s, fewer than the open invoices of the smallest case."""

OPEN: Final = (10_000, 100_000, 1_000_000, 10_000_000)
OPEN_QUICK: Final = (10_000, 100_000)
PARTITIONS: Final = (1, 8, 24, 99)
USUAL_PARTITIONS: Final = 12
GOAL_RATIO: Final = 1.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    sizes: Sequence[int]
    partitioned: int
    batches: int
    runs: int


FULL: Final = Plan(OPEN, 200_000, 10, 3)
QUICK: Final = Plan(OPEN_QUICK, 20_000, 3, 3)


def serve(line: Connection, folder: Path, count: int, partitions: int) -> None:
    """A process of its own for every size, so that its memory is its own. Fills, then does one run per request."""
    subject = InProcess(folder, count, partitions)
    subject.fill()
    subject.settle()
    line.send(subject.disk_bytes)
    while (request := line.recv()) is not None:
        batches, cold = request
        if cold:
            subject.cool()
        else:
            subject.warm()
        line.send(measure(subject, batches))
    subject.close()


def measure(subject: InProcess, batches: int) -> Run:
    """Batches of different invoices; what it takes to make the records is not counted, what RocksDB's threads do is."""
    track, process = Track(subject.parts), psutil.Process()
    making, delivering = 0.0, 0.0
    read_before, cpu_before = process.io_counters().read_bytes, time.process_time()
    table_before, others_before = subject.metered.cpu_seconds, cpu_before - time.thread_time()
    with closing(asyncio.new_event_loop()) as loop:  # asyncio.run would print every result into an error of its own
        for _ in range(batches):
            began = time.thread_time()
            records = subject.draw(BATCH)
            making += time.thread_time() - began
            began = time.perf_counter()
            loop.run_until_complete(deliver(track, records))
            delivering += time.perf_counter() - began
    subject.settle()
    cpu_seconds = time.process_time() - cpu_before - making
    threads_seconds = time.process_time() - time.thread_time() - others_before
    table_seconds = subject.metered.cpu_seconds - table_before + threads_seconds
    events = batches * BATCH
    extra = {
        "table_us_per_event": 1e6 * table_seconds / events,
        "read_bytes_per_event": (process.io_counters().read_bytes - read_before) / events,
        "disk_mb": subject.disk_bytes / 1e6,
    }
    peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Run(events, delivering, cpu_seconds, peak_rss_bytes, extra)


class Subject:
    """A process with tables of one size."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self.filled_bytes: int = line.recv()

    def run(self, batches: int, *, cold: bool) -> Run:
        """One run there."""
        self._line.send((batches, cold))
        run: Run = self._line.recv()
        return run


@contextmanager
def subject(count: int, partitions: int) -> Iterator[Subject]:
    """Filled and ready; gone with its files at the end."""
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory(prefix="bems-growth-") as folder:
        arguments = (theirs, Path(folder), count, partitions)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        try:
            yield Subject(ours)
        finally:
            ours.send(None)
            process.join(60)


def grown(plan: Plan, bar: Progress) -> list[Case]:
    """By open invoices, cold and warm in turns."""
    work = bar.add_task("open invoices", total=len(plan.sizes) * (plan.runs * 2 + 2))
    runs: dict[tuple[int, bool], list[Run]] = {}
    with ExitStack() as stack:
        subjects = {}
        for size in plan.sizes:
            bar.update(work, description=f"filling {size:,} invoices")
            subjects[size] = stack.enter_context(subject(size, USUAL_PARTITIONS))
            bar.advance(work, 2)
        for _ in range(plan.runs):
            for size, each in subjects.items():
                for cold in (True, False):
                    bar.update(work, description=f"{size:,} open, {'cold' if cold else 'warm'}")
                    runs.setdefault((size, cold), []).append(each.run(plan.batches, cold=cold))
                    bar.advance(work)
    return [
        _case(f"{size} open, {'cold' if cold else 'warm'}", size, USUAL_PARTITIONS, of)
        for (size, cold), of in runs.items()
    ]


def divided(plan: Plan, bar: Progress) -> list[Case]:
    """By partitions, warm."""
    work = bar.add_task("partitions", total=len(PARTITIONS) * (plan.runs + 1))
    runs: dict[int, list[Run]] = {}
    with ExitStack() as stack:
        subjects = {number: stack.enter_context(subject(plan.partitioned, number)) for number in PARTITIONS}
        for each in subjects.values():
            each.run(1, cold=False)
            bar.advance(work)
        for _ in range(plan.runs):
            for number, each in subjects.items():
                runs.setdefault(number, []).append(each.run(plan.batches, cold=False))
                bar.advance(work)
    return [_case(f"{number} partitions, warm", plan.partitioned, number, of) for number, of in runs.items()]


def _case(name: str, size: int, partitions: int, runs: Sequence[Run]) -> Case:
    settings = {"open_invoices": size, "partitions": partitions, "batch_records": BATCH}
    return Case(name, "tracker decide and write, one process, log in memory", settings, runs)


def targets(cases: Sequence[Case]) -> list[Target]:
    """The largest against the smallest."""
    by_name = {case.name: case for case in cases}
    found = []
    for state in ("warm", "cold"):
        sizes = [case.settings["open_invoices"] for case in cases if case.name.endswith(f"open, {state}")]
        smallest, largest = by_name[f"{min(sizes)} open, {state}"], by_name[f"{max(sizes)} open, {state}"]
        ratio = largest.spread("cpu_us_per_event").median / smallest.spread("cpu_us_per_event").median
        found.append(
            Target(
                f"tracker CPU per event at {max(sizes):,} open invoices / at {min(sizes):,}, {state}",
                ratio, GOAL_RATIO, Goal.AT_MOST, "blocks that are read and decompressed for every invoice, compaction",
            )
        )  # fmt: skip
    return found


def show(cases: Sequence[Case], results: Sequence[Target], console: Console) -> None:
    """One line per case, one per target."""
    table = Table("case", "CPU µs/event", "spread", "of it table", "events/s", "read B/event", "disk MB", "peak RSS MB")
    for case in cases:
        cpu = case.spread("cpu_us_per_event")
        read_bytes, disk_mb = (case.spread(name).median for name in ("read_bytes_per_event", "disk_mb"))
        table.add_row(
            case.name, f"{cpu.median:.1f}", f"{cpu.lowest:.1f} to {cpu.highest:.1f}",
            f"{case.spread('table_us_per_event').median:.1f}",
            f"{case.spread('events_per_second').median:,.0f}", f"{read_bytes:,.0f}", f"{disk_mb:,.0f}",
            f"{case.spread('peak_rss_bytes').median / 1e6:,.0f}",
        )  # fmt: skip
    console.print(table)
    for target in results:
        verdict = "met" if target.met else f"missed ({target.bounded_by})"
        console.print(f"{target.name}: {target.value:.2f}, {target.direction} {target.goal:g}: {verdict}")


@click.command()
@click.option("--quick", is_flag=True, help="Up to 100,000 invoices: shows that it works, measures roughly.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(quick: bool, json_path: Path | None) -> None:
    """Measure; takes about 10 GB of disk and 20 minutes in full."""
    plan, console = QUICK if quick else FULL, Console()
    with Progress(console=Console(stderr=True)) as bar:
        cases = [*grown(plan, bar), *divided(plan, bar)]
    results = targets(cases)
    show(cases, results, console)
    if json_path is not None:
        write_report(json_path, cases, results)


if __name__ == "__main__":
    main()
