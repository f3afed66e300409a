"""What an event and an invoice leave behind, and what each role spends on an event: the inputs of `bems capacity`.

A whole cell at two rates, so that what a process uses anyway is told from what an event costs; tables are filled with
invoices apart. Run `python -m benchmarks.footprint [--quick] [--json FILE] [--measured FILE]`; --measured writes the
figures into the inputs of `bems capacity`. Not here: the highest rates (end_to_end.py), the computation
(bems_streams/capacity).
"""

import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.cells import BROKER, MeasuredCell, measured_cell
from benchmarks.end_to_end_step import Step, hold
from benchmarks.figures import Case, write_report
from benchmarks.footprint_inputs import MEANINGS, write_measured
from benchmarks.in_process import InProcess
from benchmarks.journeys import EVENTS_PER_REQUEST
from benchmarks.machine import read_machine

ROLES: Final = ("tracker", "sink", "gateway", "ledger", "console")
MEASURES: Final = (
    "CPU and memory by role at a steady rate, bytes an event and an invoice leave in topics, tables and store"
)
WARM_UP_SECONDS: Final = 20.0
BACKLOG_SHARE: Final = 0.05
"""Of the rate: a backlog that grows faster is worked off in larger batches than a cell in its stride has."""
LARGEST_BEHIND: Final = "tracker"
"""Its memory is largest on a backlog (tracker.py), so that a steady rate does not show what it needs."""
GAP_SECONDS: Final = 1.0
"""Between two events of an invoice: each then has a state, a status and a changelog record of its own."""


def measure(low: float, high: float, seconds: float, invoices: int) -> list[Case]:
    """One cell at two rates, then tables of so many invoices."""
    with measured_cell(ROLES) as measured:
        hold(measured, high, WARM_UP_SECONDS, GAP_SECONDS)
        slow = hold(measured, low, seconds, GAP_SECONDS)
        batches, began_us = transactions(measured), time.time_ns() // 1000
        fast = hold(measured, high, seconds, GAP_SECONDS)
        taken = {"tracker": transactions(measured) - batches, "sink": writes(measured, began_us)}
        sizes = topic_sizes(measured) | store_sizes(measured.folder)
    for step in (slow, fast):
        if step.run.extra["backlog_growth_per_second"] > BACKLOG_SHARE * step.rate:
            raise click.ClickException(
                f"{step.rate:,.0f} events/s did not hold on this machine, and a backlog costs less than a steady rate: "
                "give a lower --high, or wait until others are done"
            )
    roles = costs(slow, fast)
    for agent, count in taken.items():
        roles[f"{agent}_batch_ms"] = fixed_ms(seconds, count, fast.run.events, roles[f"{agent}_cpu_us"])
    memory = {f"{role}_rss_bytes": fast.run.extra[f"{role}_peak_rss_bytes"] for role in ROLES if role != LARGEST_BEHIND}
    inputs = roles | memory | sizes | {"table_bytes_per_invoice": table_size(invoices)}
    settings = {"seconds": seconds, "brokers": 1, "events_per_request": EVENTS_PER_REQUEST, "invoices": invoices}
    runs = {low: slow.run, high: replace(fast.run, extra=inputs)}
    return [Case(f"cell at {rate:,.0f} events/s", MEASURES, {**settings, "rate": rate}, [runs[rate]]) for rate in runs]


def costs(slow: Step, fast: Step) -> dict[str, float]:
    """Of each role a part that it uses whatever the rate, and a part for each event: a line through two rates.

    The broker's cost follows requests, which grow little with the rate: all of it at the higher rate counts for events.
    """
    found = {f"{BROKER}_cpu_us": fast.cpu_us[BROKER]}
    for role in ROLES:
        low, high = (step.cpu_us[role] * step.run.events / step.seconds / 1e6 for step in (slow, fast))
        more = fast.run.events / fast.seconds - slow.run.events / slow.seconds
        per_event = max(0.0, (high - low) / more)
        found[f"{role}_idle_cores"] = max(0.0, low - per_event * slow.run.events / slow.seconds)
        found[f"{role}_cpu_us"] = 1e6 * per_event
    found["gateway_batch_cpu_us"] = found.pop("gateway_cpu_us")  # the load sends requests of 100 events
    return found


def transactions(measured: MeasuredCell) -> int:
    """Of the tracker so far: those that said something of the busiest partition, with one document and one marker."""
    return max(by_partition(measured, measured.catalogue.ledger_topic)) // 2


def by_partition(measured: MeasuredCell, topic: str) -> Sequence[int]:
    """Where each partition of a topic ends, control records included."""
    ends = measured.log.high_watermarks([(topic, number) for number in range(measured.catalogue.partitions)])
    return [ends[topic, number] for number in range(measured.catalogue.partitions)]


def writes(measured: MeasuredCell, since_us: int) -> int:
    """Transactions of the sink that stored events: all events of one have its moment."""
    with reading(measured.folder) as store:
        found = store.execute("SELECT count(DISTINCT stored_us) FROM events WHERE stored_us >= ?", (since_us,))
        return int(found.fetchone()[0])


def fixed_ms(seconds: float, batches: int, events: int, cpu_us: float) -> float:
    """What a batch takes however few events it has: the time between two without the work on the events of one."""
    return max(0.0, 1000 * seconds / batches - cpu_us * events / batches / 1000)


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The store, beside the sink that writes it."""
    path = next(folder.glob("*.sqlite3"))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as store:
        yield store


def topic_sizes(measured: MeasuredCell) -> dict[str, float]:
    """Bytes of the log on disk, before it is compacted, by event or record."""
    catalogue, log = measured.catalogue, measured.folder / "kafka"

    def size(topics: Iterable[str]) -> int:
        return sum(path.stat().st_size for topic in topics for path in log.rglob(f"{topic}-[0-9]*/*.log"))

    def records(topic: str) -> int:
        """Without the marker that each transaction leaves, here as in the ledger topic beside its document."""
        markers = (end // 2 for end in by_partition(measured, catalogue.ledger_topic))
        return sum(by_partition(measured, topic)) - sum(markers)

    events, changelog = measured.accepted(), catalogue.changelog_topic("tracker")
    status = catalogue.status_topic
    return {
        "event_log_bytes": size(catalogue.stage_topics.values()) / events,
        "account_bytes_per_event": size([catalogue.ledger_topic]) / events,
        "status_bytes_per_event": size([status]) / events,
        "status_record_bytes": size([status]) / records(status),
        "changelog_bytes_per_event": size([changelog]) / events,
        "changelog_record_bytes": size([changelog]) / records(changelog),
    }


def store_sizes(folder: Path) -> dict[str, float]:
    """Pages of tables and their indexes, by event and by invoice."""
    with reading(folder) as store:
        pages = store.execute("SELECT tbl_name, SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY 1")
        sizes: Mapping[str, int] = dict(pages.fetchall())
        events, invoices = (
            store.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("events", "invoices")
        )
    of_invoices = sizes["invoices"]
    return {
        "store_bytes_per_event": (sum(sizes.values()) - of_invoices) / events,
        "store_bytes_per_invoice": of_invoices / invoices,
    }


def table_size(invoices: int) -> float:
    """Bytes on disk of one invoice in a tracker's tables, once they do not compact any more."""
    with tempfile.TemporaryDirectory(prefix="bems-bench-") as name:
        tables = InProcess(Path(name), invoices, partitions=2)
        tables.fill()
        tables.cool()
        tables.settle()
        size = tables.disk_bytes
        tables.close()
    return size / invoices


@click.command()
@click.option("--quick", is_flag=True, help="A short run: measures roughly.")
@click.option("--low", type=click.FloatRange(10), default=250.0, show_default=True, help="Events per second.")
@click.option("--high", type=click.FloatRange(20), default=1500.0, show_default=True, help="Events per second.")
@click.option("--seconds", type=click.FloatRange(5), default=90.0, show_default=True, help="Of each rate.")
@click.option("--invoices", type=click.IntRange(1000), default=1_000_000, show_default=True, help="In the tables.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here.")
@click.option("--measured", type=click.Path(path_type=Path), help="Write them into this file of inputs, too.")
def main(
    quick: bool,
    low: float,
    high: float,
    seconds: float,
    invoices: int,
    json_path: Path | None,
    measured: Path | None,
) -> None:
    """Print, and write, what was measured."""
    if quick:
        seconds, invoices = 15.0, 100_000
    cases = measure(low, high, seconds, invoices)
    inputs = cases[-1].runs[0].extra
    table = Table(
        "input of bems capacity", "value", "unit", "what it is", title=f"at {low:,.0f} and {high:,.0f} events/s"
    )
    for name, value in inputs.items():
        table.add_row(name, f"{value:,.4g}", *MEANINGS[name])
    Console().print(table)
    if json_path is not None:
        write_report(json_path, cases, [])
    if measured is not None:
        machine = read_machine()
        source = (
            f"benchmarks/footprint.py at {low:,.0f} and {high:,.0f} events/s, {datetime.now(UTC):%Y-%m-%d}, "
            f"{machine.cpus} CPUs of {machine.model}"
        )
        write_measured(measured, inputs, source)


if __name__ == "__main__":
    main()
