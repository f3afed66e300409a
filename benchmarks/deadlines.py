"""What a deadline scan costs: by what is due, by what is open, and after many deadlines were moved.

The tracker's own watch over real tables, all partitions in one round as once a second; the log is in memory.
Run `python -m benchmarks.deadlines [--quick] [--json FILE]`. Not here: what events cost (growth.py).
"""

import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bems_streams.flows.deliver import deliver
from bems_streams.flows.watch import MAX_DUE, Watch
from benchmarks.figures import Case, Goal, Run, Target, write_report
from benchmarks.in_process import InProcess, chunks
from benchmarks.population import DAY_US

PARTITIONS: Final = 12
DUE: Final = (0, 100, 2_000)
SCANS_OF_NOTHING: Final = 200
SCAN_EVERY_US: Final = 1_000_000
MOVE_AT_ONCE: Final = 2_000
MOVED_WITHIN_US: Final = 3_600_000_000
"""With a million moved, each scan passes as many as come to lie in one second at 1,000 events a second."""

GOAL_RATIO: Final = 1.5
GOAL_NOTHING_US: Final = 1_000.0
FRESH: Final = "as filled"
MOVED: Final = "deadlines moved"
RESTARTED: Final = "deadlines moved, first scan after a restart"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. `moved`: deadlines moved before the second half."""

    sizes: Sequence[int]
    moved: int
    runs: int


FULL: Final = Plan((10_000, 100_000, 1_000_000, 10_000_000), 1_000_000, 7)
QUICK: Final = Plan((10_000, 100_000), 100_000, 3)


class Scans:
    """Rounds of the watch over one table."""

    def __init__(self, subject: InProcess) -> None:
        self._subject = subject
        self._random = Random(2)
        self._watch = Watch(subject.parts, lambda number, now_us: now_us)
        subject.clock.us = subject.population.first_us - 10 * DAY_US
        self._numbers = list(range(subject.population.partitions))

    def round(self, due: int) -> Run:
        """One round that finds `due` invoices, or many that find none. All that is due is alerted and written."""
        subject, scans = self._subject, 1 if due else SCANS_OF_NOTHING
        places = self._watched(due)
        subject.move(places, lambda: subject.clock.us + self._random.randrange(SCAN_EVERY_US))
        alerts, table_before = 0, subject.metered.cpu_seconds
        with closing(asyncio.new_event_loop()) as loop:
            began, cpu_before = time.perf_counter(), time.thread_time()
            for _ in range(scans):
                subject.clock.us += SCAN_EVERY_US
                alerts += len(loop.run_until_complete(deliver(self._watch, self._numbers)).alerts)
            cpu_seconds, seconds = time.thread_time() - cpu_before, time.perf_counter() - began
        assert alerts == due, f"{alerts} alerts, {due} were due"
        extra = {
            "scan_us": 1e6 * cpu_seconds / scans,
            "of_it_table_us": 1e6 * (subject.metered.cpu_seconds - table_before) / scans,
        }
        peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Run(due or scans, seconds, cpu_seconds, peak_rss_bytes, extra)

    def _watched(self, count: int) -> list[int]:
        """Places of invoices in stages that have a deadline."""
        population = self._subject.population
        drawn = population.draw(min(population.count, 2 * count + 100)) if count else []
        return [place for place in drawn if population.has_deadline(place)][:count]

    def move_many(self, count: int) -> None:
        """Deadlines of the hour ahead are put and taken away again, as by invoices that move on in time."""
        subject, draw = self._subject, self._random.randrange
        population, now_us = subject.population, subject.clock.us
        for step in chunks(range(count), MOVE_AT_ONCE):
            places = population.draw(len(step))
            subject.move(places, lambda: now_us + draw(MOVED_WITHIN_US))
            subject.move(places, lambda: population.first_us + draw(population.last_us - population.first_us))


def measure(size: int, plan: Plan) -> list[tuple[str, int, Run]]:
    """All rounds at one size; in a process of its own. (condition, due, run)."""
    with tempfile.TemporaryDirectory(prefix="bems-deadlines-") as folder:
        subject = InProcess(Path(folder), size, PARTITIONS)
        subject.fill()
        subject.settle()
        found = list(_rounds(subject, plan))
        subject.close()
    return found


def _rounds(subject: InProcess, plan: Plan) -> Iterator[tuple[str, int, Run]]:
    scans = Scans(subject)
    for condition in (FRESH, MOVED):
        for _ in range(plan.runs):
            for due in DUE:
                yield condition, due, scans.round(due)
        if condition == FRESH:
            scans.move_many(plan.moved)
    for _ in range(plan.runs):
        subject.reopen()
        yield RESTARTED, 100, scans.round(100)


def run(plan: Plan, bar: Progress) -> list[Case]:
    """All sizes, each in a process of its own so that memory is its own."""
    cases, work = [], bar.add_task("deadline scans", total=len(plan.sizes))
    for size in plan.sizes:
        bar.update(work, description=f"{size:,} open invoices")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (size, plan))
        runs: dict[tuple[str, int], list[Run]] = {}
        for condition, due, one in found:
            runs.setdefault((condition, due), []).append(one)
        for (condition, due), of in runs.items():
            settings = {"open_invoices": size, "due": due, "partitions": PARTITIONS, "moved": plan.moved}
            name = f"{size} open, {due} due, {condition}"
            cases.append(Case(name, "one round of the deadline watch over all partitions", settings, of))
        bar.advance(work)
    return cases


def targets(cases: Sequence[Case]) -> list[Target]:
    """The largest size against the smallest, per invoice due; and the largest with nothing due."""
    by_name = {case.name: case for case in cases}
    sizes = [case.settings["open_invoices"] for case in cases]
    smallest, largest = min(sizes), max(sizes)

    def scan_us(size: int, due: int, condition: str) -> float:
        return by_name[f"{size} open, {due} due, {condition}"].spread("scan_us").median

    bounded_by = "states of invoices that are due, read from where they lie; then alerts, which cost the same"
    found = [
        Target(
            f"deadline scan with {due:,} due, {condition}, at {largest:,} open / at {smallest:,}",
            scan_us(largest, due, condition) / scan_us(smallest, due, condition),
            GOAL_RATIO, Goal.AT_MOST, bounded_by,
        )
        for condition in (FRESH, MOVED)
        for due in (100, MAX_DUE)
    ]  # fmt: skip
    nothing = f"deadline scan of {PARTITIONS} partitions with nothing due, {MOVED}, at {largest:,} open, CPU µs"
    found.append(
        Target(nothing, scan_us(largest, 0, MOVED), GOAL_NOTHING_US, Goal.AT_MOST, "one seek per partition")
    )  # fmt: skip
    return found


def show(cases: Sequence[Case], results: Sequence[Target], console: Console) -> None:
    """One line per case, one per target."""
    table = Table("case", "CPU µs/scan", "spread", "of it table")
    for case in cases:
        scan = case.spread("scan_us")
        spread = f"{scan.lowest:,.0f} to {scan.highest:,.0f}"
        table.add_row(case.name, f"{scan.median:,.0f}", spread, f"{case.spread('of_it_table_us').median:,.0f}")
    console.print(table)
    for target in results:
        verdict = "met" if target.met else f"missed ({target.bounded_by})"
        console.print(f"{target.name}: {target.value:,.2f}, {target.direction} {target.goal:,g}: {verdict}")


@click.command()
@click.option("--quick", is_flag=True, help="Up to 100,000 invoices: shows that it works, measures roughly.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(quick: bool, json_path: Path | None) -> None:
    """Measure; takes about 8 GB of disk and 15 minutes in full."""
    with Progress(console=Console(stderr=True)) as bar:
        cases = run(QUICK if quick else FULL, bar)
    results = targets(cases)
    show(cases, results, Console())
    if json_path is not None:
        write_report(json_path, cases, results)


if __name__ == "__main__":
    main()
