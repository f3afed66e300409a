"""How much memory a tracker takes with few and with many partitions, against the bound that its settings give.

A real worker on a backlog, an empty disk and the whole table memory in use; see docs/performance/memory.md.
Run `python -m benchmarks.memory [--quick] [--json FILE]`. Not here: the rate (tracker.py), growth with invoices
(growth.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agents.tracker import MAX_RECORDS
from bems_streams.config import Settings
from bems_streams.runtime.app import MAX_FETCH_BYTES
from bems_streams.runtime.table_memory import TableMemory
from bems_streams.runtime.transport import BatchSettings
from bems_streams.runtime.unpack import TAKE_RECORDS
from benchmarks.cluster import cluster
from benchmarks.feed import fill
from benchmarks.figures import Case, Goal, Run, Target, write_report
from benchmarks.tracker import measure

PROCESS_BYTES: Final = 150 << 20
"""Python, its modules and the libraries, idle."""

PARTITION_BYTES: Final = 1 << 20
"""What an open partition takes beside its share of the table memory: open files, buffers of readers and writers."""

RECORD_BYTES: Final = 1_500
"""One event of 450 bytes as Python holds it: record, coordinates, key, value."""

DECISION_BYTES: Final = 6_000
"""What one event of a piece of work becomes until it is published: state, status, changelog, their encoded forms."""

SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    partitions: Sequence[int]
    events: int
    runs: int


FULL: Final = Plan((12, 24, 99), 300_000, 3)
QUICK: Final = Plan((12,), 30_000, 1)


def bound_bytes(partitions: int, stages: int, table_memory_bytes: int) -> int:
    """The formula of docs/performance/memory.md."""
    waiting = (BatchSettings.RECORDS + TAKE_RECORDS) * RECORD_BYTES
    fetched = partitions * stages * MAX_FETCH_BYTES
    work = (MAX_RECORDS + BatchSettings.BATCH_RECORDS) * DECISION_BYTES
    return PROCESS_BYTES + table_memory_bytes + partitions * PARTITION_BYTES + waiting + fetched + work


def run(plan: Plan, bar: Progress) -> list[Case]:
    """One broker after the other: a hundred partitions of all topics are a load of their own."""
    cases, work = [], bar.add_task("memory", total=len(plan.partitions) * (plan.runs + 1))
    for partitions in plan.partitions:
        bar.update(work, description=f"{partitions} partitions: filling")
        with cluster(partitions=partitions) as running:
            fill(running.bootstrap, running.catalogue, plan.events, SEED)
            bar.advance(work)
            runs: list[Run] = []
            for _ in range(plan.runs):
                bar.update(work, description=f"{partitions} partitions: working off the backlog")
                runs.append(measure(running.bootstrap, running.catalogue, plan.events))
                bar.advance(work)
            memory = TableMemory(Settings().table_memory_mb << 20)
            settings = {
                "partitions": partitions,
                "events": plan.events,
                "table_memory_bytes": memory.limit_bytes,
                "bound_bytes": bound_bytes(partitions, len(running.catalogue.stage_topics), memory.limit_bytes),
            }
            cases.append(Case(f"{partitions} partitions", "peak memory of a tracker on a backlog", settings, runs))
    return cases


def targets(cases: Sequence[Case]) -> list[Target]:
    """The highest peak of any run against the bound."""
    return [
        Target(
            f"memory of a tracker with {case.name}, highest peak / bound",
            case.spread("peak_rss_bytes").highest / case.settings["bound_bytes"],
            1.0,
            Goal.AT_MOST,
            "the table memory, and what is fetched and waits: see docs/performance/memory.md",
        )
        for case in cases
    ]


def show(cases: Sequence[Case], results: Sequence[Target], console: Console) -> None:
    """One line per case, one per target."""
    table = Table("case", "peak RSS MB", "spread", "bound MB", "CPU µs/event")
    for case in cases:
        peak = case.spread("peak_rss_bytes")
        table.add_row(
            case.name, f"{peak.median / 1e6:,.0f}", f"{peak.lowest / 1e6:,.0f} to {peak.highest / 1e6:,.0f}",
            f"{case.settings['bound_bytes'] / 1e6:,.0f}", f"{case.spread('cpu_us_per_event').median:.1f}",
        )  # fmt: skip
    console.print(table)
    for target in results:
        verdict = "met" if target.met else f"missed ({target.bounded_by})"
        console.print(f"{target.name}: {target.value:.2f}, {target.direction} {target.goal:g}: {verdict}")


@click.command()
@click.option("--quick", is_flag=True, help="Twelve partitions, few events: shows that it works.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(quick: bool, json_path: Path | None) -> None:
    """Measure with a broker of its own for each number of partitions."""
    with Progress(console=Console(stderr=True)) as bar:
        cases = run(QUICK if quick else FULL, bar)
    results = targets(cases)
    show(cases, results, Console())
    if json_path is not None:
        write_report(json_path, cases, results)


if __name__ == "__main__":
    main()
