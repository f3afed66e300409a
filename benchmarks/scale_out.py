"""Throughput of 1, 2 and 4 tracker processes on the same backlog of 12 partitions, each with a place of its own.

Every process has a fixed name in the group (static membership), its own tables and its own transactions. More processes
than processors show what sharing costs, not what they could do. Run `python -m benchmarks.scale_out [--quick]
[--json FILE]`. Not here: filling and waiting (backlog.py).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.backlog import stop_workers, work_off
from benchmarks.cells import measured_cell
from benchmarks.feed import fill
from benchmarks.figures import Case, Goal, Run, Target, write_report

COUNTS: Final = (1, 2, 4)
EVENTS: Final = 1_000_000
QUICK_EVENTS: Final = 100_000
ROUNDS: Final = 3
GOAL_RATIO: Final = 1.25
"""CPU per event of four processes to that of one: what partitioned work may cost more."""


def measure(trackers: int, events: int, seed: int) -> Run:
    """On a cell of its own: the tables are empty at the start, as with the other numbers of processes."""
    names = [f"tracker-{number}" for number in range(trackers)]
    with measured_cell(names) as measured:
        stop_workers(measured, names)
        fill(measured.cell.kafka.bootstrap, measured.catalogue, events, seed)
        worked = work_off(measured, {"tracker": measured.tracked}, names, measured.accepted())["tracker"]
    extra = {
        "steady_events_per_second": worked.steady_events_per_second,
        "broker_cpu_us_per_event": 1e6 * worked.broker.cpu_seconds / worked.events,
        "restarts": float(worked.restarts),
        "peak_rss_bytes_per_process": worked.usage.peak_rss_bytes / trackers,
    }
    return Run(worked.events, worked.seconds, worked.usage.cpu_seconds, worked.usage.peak_rss_bytes, extra)


def show(cases: Sequence[Case]) -> Table:
    """A row for each number of processes, medians."""
    table = Table("case", "events/s", "steady/s", "µs/event", "broker µs", "MB each", title="trackers on one backlog")
    for column in table.columns[1:]:
        column.justify = "right"
    for case in cases:
        table.add_row(
            case.name,
            f"{case.spread('events_per_second').median:,.0f}",
            f"{case.spread('steady_events_per_second').median:,.0f}",
            f"{case.spread('cpu_us_per_event').median:.1f}",
            f"{case.spread('broker_cpu_us_per_event').median:.1f}",
            f"{case.spread('peak_rss_bytes_per_process').median / 1e6:,.0f}",
        )
    return table


def targets_of(cases: Sequence[Case]) -> list[Target]:
    """Work per event must not grow with the processes; the rate can only grow with processors to run on."""
    first, last = cases[0], cases[-1]
    ratio = last.spread("cpu_us_per_event").median / first.spread("cpu_us_per_event").median
    bound = "smaller transactions: each process ends its own, so that fixed costs are shared by fewer events"
    return [Target(f"CPU per event, {last.name} to {first.name}", ratio, GOAL_RATIO, Goal.AT_MOST, bound)]


@click.command()
@click.option("--quick", is_flag=True, help=f"{QUICK_EVENTS:,} events, one round.")
@click.option("--events", type=click.IntRange(1_000), default=EVENTS, show_default=True, help="Of each backlog.")
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(quick: bool, events: int, rounds: int, json_path: Path | None) -> None:
    """Measure 1, 2 and 4 trackers in turns."""
    events, rounds = (QUICK_EVENTS, 1) if quick else (events, rounds)
    turns = [[measure(count, events, seed) for count in COUNTS] for seed in range(1, rounds + 1)]
    settings = {"events": events, "partitions": 12, "cpus": os.cpu_count()}
    cases = [
        Case(
            f"{count} tracker{'s' if count > 1 else ''}",
            "a backlog worked off by trackers, from their start to the last event; CPU of all trackers",
            settings | {"processes": count},
            runs,
        )
        for count, runs in zip(COUNTS, map(list, zip(*turns, strict=True)), strict=True)
    ]
    Console().print(show(cases))
    if json_path is not None:
        write_report(json_path, cases, targets_of(cases))


if __name__ == "__main__":
    main()
