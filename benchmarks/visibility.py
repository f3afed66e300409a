"""How soon a query returns an event at the peak rate: acceptance to visible row, through the whole one-machine cell.

Every event is timed by a reader that polls the store as the console does, so this is an upper bound of what the cell
says of itself. Run `python -m benchmarks.visibility [--quick] [--rate 1000] [--json FILE]`.
Not here: higher rates (end_to_end.py), the probe (bems_streams/local/visibility.py).
"""

from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bems_streams.adapters.clock import SystemClock
from bems_streams.local.visibility import VisibilityProbe
from benchmarks.cells import MeasuredCell, measured_cell
from benchmarks.end_to_end_step import hold
from benchmarks.figures import Case, Goal, Run, Target, write_report

ROLES: Final = ("tracker", "sink", "gateway", "console", "ledger")
RATE: Final = 1_000.0
SECONDS: Final = 30.0
QUICK_SECONDS: Final = 8.0
RUNS: Final = 3
GOAL_P99_MS: Final = 2_000.0
GAP_SECONDS: Final = 5.0


def measure(measured: MeasuredCell, rate: float, seconds: float) -> Run:
    """One run. What the probe saw stands beside what the store says."""
    with VisibilityProbe(measured.reader, SystemClock()) as probe:
        run = hold(measured, rate, seconds, GAP_SECONDS).run
    seen = probe.seen()
    if seen.p50_ms is None or seen.p99_ms is None:
        raise click.ClickException("no event became visible: see why the sink stores nothing")
    figures = {"polled_p50_ms": seen.p50_ms, "polled_p99_ms": seen.p99_ms, "polled_events": float(seen.events)}
    return Run(run.events, run.seconds, run.cpu_seconds, run.peak_rss_bytes, {**figures, **run.extra})


def show(case: Case) -> Table:
    """Medians, lowest and highest over the runs."""
    table = Table("", "median", "lowest", "highest", title=f"acceptance to visible row, {case.settings['rate']:,.0f}/s")
    for name in ("polled_p50_ms", "polled_p99_ms", "visible_p50_ms", "visible_p99_ms", "cpu_us_per_event"):
        spread = case.spread(name)
        table.add_row(name, *(f"{value:,.0f}" for value in (spread.median, spread.lowest, spread.highest)))
    return table


@click.command()
@click.option("--quick", is_flag=True, help=f"One run of {QUICK_SECONDS:g} s.")
@click.option("--rate", type=click.FloatRange(min=100), default=RATE, show_default=True, help="Events per second.")
@click.option("--seconds", type=click.FloatRange(min=1), default=SECONDS, show_default=True, help="Of each run.")
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(quick: bool, rate: float, seconds: float, runs: int, json_path: Path | None) -> None:
    """Measure visibility at a steady rate."""
    seconds, runs = (QUICK_SECONDS, 1) if quick else (seconds, runs)
    with measured_cell(ROLES) as measured:
        hold(measured, rate, min(seconds, QUICK_SECONDS), GAP_SECONDS)
        found = [measure(measured, rate, seconds) for _ in range(runs)]
    settings = {"rate": rate, "seconds": seconds, "roles": list(ROLES), "brokers": 1, "store": "sqlite"}
    case = Case(f"{rate:,.0f} events/s", "acceptance to a row that a polling reader gets", settings, found)
    Console().print(show(case))
    if json_path is not None:
        p99_ms = case.spread("polled_p99_ms").median
        bound = "how long the sink gathers rows for a transaction, and its fsync"
        target = Target(f"visible p99 in ms at {rate:,.0f} events/s", p99_ms, GOAL_P99_MS, Goal.AT_MOST, bound)
        write_report(json_path, [case], [target])


if __name__ == "__main__":
    main()
