"""How the sink gets over an outage of its store: backlog, rate of catching up, visibility before and after.

A whole cell under a steady load before, during and after; the store is away for `--minutes`. Run `python -m
benchmarks.outage [--quick] [--rate 1000] [--minutes 10] [--json FILE]`.
Not here: the troubles (bems_streams/local/faulty_store.py), the load (open_loop.py).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bems_streams.local.faulty_store import Troubles, ask_for
from benchmarks.cells import MeasuredCell, RoleMeter, by_role, measured_cell
from benchmarks.end_to_end_step import loading
from benchmarks.figures import Case, Goal, Run, Target, write_report

ROLES: Final = ("tracker", "sink", "gateway")
RATE: Final = 1_000.0
MINUTES: Final = 10.0
QUICK_MINUTES: Final = 0.5
STEADY_SECONDS: Final = 30.0
QUICK_STEADY_SECONDS: Final = 10.0
GOAL_CATCH_UP: Final = 3.0
GOAL_P99_MS: Final = 2_000.0
GIVE_UP_SECONDS: Final = 1_800.0
GAP_SECONDS: Final = 5.0
TROUBLES: Final = "troubles.json"


class Plan(NamedTuple):
    """What one run does."""

    rate: float
    away_seconds: float
    steady_seconds: float


class Outage:
    """One run on one cell."""

    def __init__(self, measured: MeasuredCell, control: Path, bar: Progress) -> None:
        self._measured = measured
        self._control = control
        self._bar = bar

    def run(self, plan: Plan) -> Run:
        """Steady, away, back, caught up, steady again. The run's own figures are those of catching up."""
        seconds = plan.away_seconds + 2 * plan.steady_seconds + GIVE_UP_SECONDS
        path = self._control.with_name("offered.json")
        url = self._measured.cell.addresses.gateway
        with loading(url, plan.rate, seconds, GAP_SECONDS, time.time(), path):
            self._wait("steady", plan.steady_seconds)
            before_ms = self._visible_p99_ms(plan)
            ask_for(self._control, Troubles(away=True))
            self._wait("the store is away", plan.away_seconds)
            backlog = self._behind()
            ask_for(self._control, Troubles())
            began, stored = time.monotonic(), self._measured.stored()
            with RoleMeter(self._measured.pids) as meter:
                self._until("catching up", lambda: self._behind() < plan.rate)
            seconds, rows = time.monotonic() - began, self._measured.stored() - stored
            self._wait("steady again", plan.steady_seconds)
            after_ms = self._visible_p99_ms(plan)
        account = self._measured.settled()
        extra = {
            "backlog_events": float(backlog),
            "catch_up_ratio": rows / seconds / plan.rate,
            "visible_p99_ms_before": before_ms,
            "visible_p99_ms_after": after_ms,
            "dead_lettered": float(account.dead_lettered),
            "in_lanes": float(account.retrying),
            "ledger_closed": float(account.settled),
            **by_role(meter.usage, rows, {}),
        }
        sink = meter.usage["sink"]
        return Run(rows, seconds, sink.cpu_seconds, sink.peak_rss_bytes, extra)

    def _visible_p99_ms(self, plan: Plan) -> float:
        until_us = time.time_ns() // 1000 - 2_000_000
        since_us = until_us - round(plan.steady_seconds / 2 * 1e6)
        p99_ms = self._measured.reader.visibility(since_us, until_us).p99_ms
        return float("nan") if p99_ms is None else p99_ms

    def _behind(self) -> int:
        return self._measured.accepted() - self._measured.stored()

    def _wait(self, what: str, seconds: float) -> None:
        task = self._bar.add_task(what, total=seconds)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._bar.update(task, completed=seconds - left)
            time.sleep(min(1.0, left))
        self._bar.update(task, completed=seconds)

    def _until(self, what: str, done: Callable[[], bool]) -> None:
        task, end = self._bar.add_task(what, total=None), time.monotonic() + GIVE_UP_SECONDS
        while not done():
            behind = self._behind()
            if time.monotonic() > end:
                raise click.ClickException(f"{behind:,} events behind after {GIVE_UP_SECONDS:g} s")
            self._bar.update(task, description=f"{what}: {behind:,} behind")
            time.sleep(0.5)


def measure(plan: Plan) -> Run:
    """On a cell of its own whose store fails on request."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    store = f"faulty:{{folder}}/{TROUBLES}|{{url}}"
    with measured_cell(ROLES, store=store) as measured, Progress(*columns, console=Console(stderr=True)) as bar:
        return Outage(measured, measured.folder / TROUBLES, bar).run(plan)


def targets_of(run: Run) -> list[Target]:
    """Catching up must be faster than what comes in, and leave no trace."""
    bound = "the sink's CPU, beside the tracker, the broker and the load"
    return [
        Target("after an outage, catch-up ratio", run.extra["catch_up_ratio"], GOAL_CATCH_UP, Goal.AT_LEAST, bound),
        Target(
            "after an outage, visible p99 in ms", run.extra["visible_p99_ms_after"], GOAL_P99_MS, Goal.AT_MOST, bound
        ),
        Target("after an outage, ledger closed", run.extra["ledger_closed"], 1.0, Goal.AT_LEAST, "a loss would be"),
    ]


@click.command()
@click.option("--quick", is_flag=True, help="Half a minute away.")
@click.option("--rate", type=click.FloatRange(min=100), default=RATE, show_default=True, help="Events per second.")
@click.option("--minutes", type=float, default=MINUTES, show_default=True, help="How long the store is away.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(quick: bool, rate: float, minutes: float, json_path: Path | None) -> None:
    """Measure an outage of the store."""
    away_seconds = 60 * (QUICK_MINUTES if quick else minutes)
    plan = Plan(rate, away_seconds, QUICK_STEADY_SECONDS if quick else STEADY_SECONDS)
    run = measure(plan)
    case = Case(
        f"store away for {away_seconds:g} s at {rate:,.0f} events/s",
        "rows stored while catching up, beside the load; CPU and memory of the sink",
        {"rate": rate, "away_seconds": away_seconds, "store": "sqlite", "roles": list(ROLES)},
        [run],
    )
    table = Table("", "", title=case.name)
    for name, value in {"stored per second": run.events_per_second, **run.extra}.items():
        table.add_row(name, f"{value:,.1f}")
    Console().print(table)
    if json_path is not None:
        write_report(json_path, [case], targets_of(run))


if __name__ == "__main__":
    main()
