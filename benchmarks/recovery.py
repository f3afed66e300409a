"""How fast an empty disk is filled from the changelog of a real broker, by what the changelog holds.

The tracker's own restore, to the moment at which its tables may be worked on: deadline index made, files synced.
Run `python -m benchmarks.recovery [--quick] [--json FILE]`. Not here: process start and group membership (restart.py).
"""

import multiprocessing
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import psutil
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bems_streams.flows.tracking import CurrentDeadlines
from bems_streams.metrics import TableMetrics
from bems_streams.runtime.fence import SETTINGS
from bems_streams.runtime.ownership import TableStore
from bems_streams.runtime.table_memory import TableMemory
from bems_streams.topics import Catalogue
from benchmarks.cluster import cluster
from benchmarks.figures import Case, Goal, Run, Target, write_report
from benchmarks.in_process import AGENT, MEMORY_BYTES, chunks
from benchmarks.population import Population
from benchmarks.processes import Meter, only

IN_ONE_TRANSACTION: Final = 8_000
GOAL_ROWS_PER_SECOND: Final = 200_000.0
COMPACTED: Final = "compacted changelog"
HISTORY: Final = "changelog with history"
VERSIONS: Final = {COMPACTED: 1, HISTORY: 7}
"""Records per invoice: one once the broker has compacted; of the newest part every change that was published."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    rows: int
    runs: int


FULL: Final = Plan(1_000_000, 5)
QUICK: Final = Plan(100_000, 2)


def publish(bootstrap: str, catalogue: Catalogue, rows: int, versions: int) -> None:
    """Write the changelog in transactions, as trackers do: every version of all invoices, then the next."""
    population = Population(rows // versions, catalogue.partitions, catalogue.journey())
    topic = catalogue.changelog_topic(AGENT)
    producer = Producer({**SETTINGS, "bootstrap.servers": bootstrap, "transactional.id": "benchmark"})
    producer.init_transactions(30.0)
    for _ in range(versions):
        everything = (
            (number, key, change.value)
            for number in range(catalogue.partitions)
            for key, change in population.fill(number)
        )
        for chunk in chunks(everything, IN_ONE_TRANSACTION):
            producer.begin_transaction()
            for number, key, value in chunk:
                producer.produce(topic, key=key, value=value, partition=number)
            producer.commit_transaction(30.0)


def restore(bootstrap: str, catalogue: Catalogue, folder: Path) -> tuple[Run, int]:
    """Once, on an empty disk. How many invoices there are afterwards is for the caller to check."""
    registry = CollectorRegistry()
    tables = TableStore(
        folder,
        catalogue.changelog_topic(AGENT),
        CurrentDeadlines(catalogue.journey()),
        TableMemory(MEMORY_BYTES),
        TableMetrics(registry),
    )
    numbers = list(range(catalogue.partitions))
    with Meter(only(psutil.Process().pid)) as meter:
        tables.open(numbers)
        rows = tables.restore({"bootstrap.servers": bootstrap}, numbers)
    usage = meter.usage
    invoices = sum(1 for table in tables.partitions.values() for _ in table.items())
    tables.open([])
    shutil.rmtree(folder)
    return Run(rows, usage.seconds, usage.cpu_seconds, usage.peak_rss_bytes), invoices


def measure(plan: Plan, bar: Progress) -> list[Case]:
    """Each run in a process of its own; both changelogs in turns."""
    work = bar.add_task("recovery", total=len(VERSIONS) * (plan.runs + 1))
    runs: dict[str, list[Run]] = {}
    with cluster() as compacted, cluster() as history, tempfile.TemporaryDirectory(prefix="bems-recovery-") as folder:
        brokers = {COMPACTED: compacted, HISTORY: history}
        for name, broker in brokers.items():
            bar.update(work, description=f"writing the {name}")
            publish(broker.bootstrap, broker.catalogue, plan.rows, VERSIONS[name])
            bar.advance(work)
        for _ in range(plan.runs):
            for name, broker in brokers.items():
                bar.update(work, description=f"restoring the {name}")
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    arguments = (broker.bootstrap, broker.catalogue, Path(folder) / "tables")
                    run, invoices = pool.apply(restore, arguments)
                expected = plan.rows // VERSIONS[name]
                if invoices != expected:
                    raise click.ClickException(f"{name}: {invoices} invoices were restored, {expected} were written")
                runs.setdefault(name, []).append(run)
                bar.advance(work)
    measures = "restore of an empty disk: records read, applied, deadline index made"
    return [
        Case(name, measures, {"rows": plan.rows, "versions": VERSIONS[name], "partitions": 12}, of)
        for name, of in runs.items()
    ]


def targets(cases: Sequence[Case]) -> list[Target]:
    """One per changelog."""
    return [
        Target(
            f"recovery from an empty disk, {case.name}, rows/s",
            case.spread("events_per_second").median,
            GOAL_ROWS_PER_SECOND,
            Goal.AT_LEAST,
            f"{case.spread('cpu_us_per_event').median:.1f} µs of CPU a row in the worker, and the broker beside it",
        )
        for case in cases
    ]


def show(cases: Sequence[Case], results: Sequence[Target], console: Console) -> None:
    """One line per case, one per target."""
    table = Table("case", "rows/s", "spread", "CPU µs/row", "peak RSS MB")
    for case in cases:
        rate, cpu = case.spread("events_per_second"), case.spread("cpu_us_per_event")
        table.add_row(
            case.name, f"{rate.median:,.0f}", f"{rate.lowest:,.0f} to {rate.highest:,.0f}",
            f"{cpu.median:.2f} ({cpu.lowest:.2f} to {cpu.highest:.2f})",
            f"{case.spread('peak_rss_bytes').median / 1e6:,.0f}",
        )  # fmt: skip
    console.print(table)
    for target in results:
        verdict = "met" if target.met else f"missed ({target.bounded_by})"
        console.print(f"{target.name}: {target.value:,.0f}, {target.direction} {target.goal:,g}: {verdict}")


@click.command()
@click.option("--quick", is_flag=True, help="100,000 rows: shows that it works, measures roughly.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(quick: bool, json_path: Path | None) -> None:
    """Measure with a million rows of each changelog."""
    with Progress(console=Console(stderr=True)) as bar:
        cases = measure(QUICK if quick else FULL, bar)
    results = targets(cases)
    show(cases, results, Console())
    if json_path is not None:
        write_report(json_path, cases, results)


if __name__ == "__main__":
    main()
