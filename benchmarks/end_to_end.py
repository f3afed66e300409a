"""HTTP to visible row on this machine: the rate that a whole cell holds, how soon events are visible, who uses what.

Broker, gateway, tracker, sink, the ledger's watch, the SQLite store and the load share the processors. The load is an
open loop: events come when they are due, whether or not the cell keeps up. Run `python -m benchmarks.end_to_end
[--quick] [--rate 5000 …] [--json FILE]`; without rates it searches for the highest that holds, then holds it.
Not here: the load (open_loop.py), one step of it (end_to_end_step.py).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console, Group
from rich.table import Table

from benchmarks.cells import MeasuredCell, measured_cell
from benchmarks.end_to_end_step import LOAD, Step, hold
from benchmarks.figures import Case, Goal, Target, write_report
from benchmarks.journeys import EVENTS_PER_REQUEST

ROLES: Final = ("tracker", "sink", "gateway", "ledger")
PARTITIONS: Final = 4
"""Enough for two processors. A cell of many machines has more: what is written a second is spread over all of them, and
each batch of each partition is a request of its own."""
LADDER: Final = (2_000.0, 5_000.0, 7_500.0, 10_000.0, 12_500.0, 15_000.0, 20_000.0, 25_000.0)
GOAL_RATE: Final = 10_000.0
GOAL_P99_MS: Final = 2_000.0
WARM_UP_SECONDS: Final = 8.0
WARM_UP_RATE: Final = 1_000.0
QUICK_RATE: Final = 2_000.0
QUICK_SECONDS: Final = 20.0


def steps(
    measured: MeasuredCell, rates: Sequence[float], step_seconds: float, long_seconds: float, gap_seconds: float
) -> Iterator[Step]:
    """The rates given. Without: up the ladder while they hold, then the highest for long, or the next lower one."""
    hold(measured, WARM_UP_RATE, WARM_UP_SECONDS, gap_seconds)
    for rate in rates:
        yield hold(measured, rate, step_seconds, gap_seconds)
    if rates:
        return
    held: list[float] = []
    for rate in LADDER:
        step = hold(measured, rate, step_seconds, gap_seconds)
        yield step
        if not step.held:
            break
        held.append(rate)
    while held:
        step = hold(measured, held.pop(), long_seconds, gap_seconds)
        yield step
        if step.held:
            return


def case_of(step: Step, settings: dict[str, object]) -> Case:
    """One step is one case: the store and the topics grow from each to the next."""
    return Case(
        name=f"{step.rate:,.0f} events/s for {step.seconds:g} s",
        measures="HTTP to visible row, all of a cell and its load on this machine; CPU of the cell without the load",
        settings=settings | {"rate": step.rate, "seconds": step.seconds},
        runs=[step.run],
    )


def targets_of(found: Sequence[Step]) -> Sequence[Target]:
    """Of the longest run that held at the highest rate; of the last one when none did."""
    best = max([step for step in found if step.held] or found[-1:], key=lambda step: (step.seconds, step.rate))
    bound = bounded_by(best)
    rate = best.run.extra["accepted_per_second"] if best.held else 0.0
    name = f"end to end, events/s held for {best.seconds:g} s"
    return [
        Target(name, rate, GOAL_RATE * 0.99, Goal.AT_LEAST, bound),
        Target("end to end, visible p99 in ms", best.run.extra["visible_p99_ms"], GOAL_P99_MS, Goal.AT_MOST, bound),
        Target("end to end, ledger closed", best.run.extra["ledger_closed"], 1.0, Goal.AT_LEAST, "a loss would be"),
    ]


def bounded_by(step: Step) -> str:
    """Who uses the processors."""
    shares = sorted(((used, role) for role, used in step.cpu_us.items()), reverse=True)
    return "CPU per event: " + ", ".join(f"{role} {used:.1f} µs" for used, role in shares)


def show(found: Sequence[Step]) -> Group:
    """A row for each step: what was held, and who used what."""
    held = Table("rate", "s", "accepted/s", "p50 ms", "p99 ms", "in 2 s", "backlog", "held", "ledger")
    used = Table("rate", "cell", *found[0].cpu_us, "others", title="CPU, µs per event; others: share of all CPU used")
    held.title = "HTTP to visible row"
    for column in (*held.columns, *used.columns):
        column.justify = "right"
    for step in found:
        extra, rate = step.run.extra, f"{step.rate:,.0f}"
        held.add_row(
            rate,
            f"{step.seconds:g}",
            f"{extra['accepted_per_second']:,.0f}",
            f"{extra['visible_p50_ms']:,.0f}",
            f"{extra['visible_p99_ms']:,.0f}",
            f"{extra['visible_in_2_s_share']:.2%}",
            f"{extra['backlog_most_events']:,.0f}",
            "yes" if step.held else "[red]no[/]",
            "closed" if extra["ledger_closed"] else "[red]OPEN[/]",
        )
        shares = (f"{cpu_us:.1f}" for cpu_us in step.cpu_us.values())
        total = sum(cpu_us for role, cpu_us in step.cpu_us.items() if role != LOAD)
        used.add_row(rate, f"{total:.1f}", *shares, f"{extra['others_cpu_share']:.0%}")
    return Group(held, used)


@click.command()
@click.option("--quick", is_flag=True, help=f"{QUICK_SECONDS:g} s at {QUICK_RATE:,.0f} events/s, no search.")
@click.option("--rate", "rates", type=click.FloatRange(min=100), multiple=True, help="Measure these, no search.")
@click.option("--seconds", type=float, default=45.0, show_default=True, help="Of each step.")
@click.option("--long-seconds", type=float, default=600.0, show_default=True, help="Of the run at the highest rate.")
@click.option("--gap-seconds", type=float, default=5.0, show_default=True, help="Between two events of one invoice.")
@click.option("--partitions", type=click.IntRange(1, 99), default=PARTITIONS, show_default=True, help="Of every topic.")
@click.option("--role", "roles", multiple=True, default=ROLES, show_default=True, help="What the cell consists of.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(
    quick: bool,
    rates: Sequence[float],
    seconds: float,
    long_seconds: float,
    gap_seconds: float,
    partitions: int,
    roles: Sequence[str],
    json_path: Path | None,
) -> None:
    """Measure the highest rate that holds, or the rates given."""
    console = Console()
    if quick:
        rates, seconds = rates or (QUICK_RATE,), QUICK_SECONDS
    settings = {
        "roles": list(roles),
        "store": "sqlite",
        "brokers": 1,
        "partitions": partitions,
        "events_per_request": EVENTS_PER_REQUEST,
        "gap_seconds": gap_seconds,
    }
    found: list[Step] = []
    with measured_cell(roles, partitions=partitions) as measured:
        for step in steps(measured, rates, seconds, long_seconds, gap_seconds):
            found.append(step)
            console.print(f"{step.rate:,.0f}/s: {'held' if step.held else 'not held'}; {bounded_by(step)}")
    console.print(show(found))
    if json_path is not None:
        write_report(json_path, [case_of(step, settings) for step in found], targets_of(found))


if __name__ == "__main__":
    main()
