"""How workers catch up with topics that filled while they were down: tracker, sink, then both at once.

The rest of the cell runs on; what comes afterwards is posted at a steady rate and timed. Run `python -m
benchmarks.catch_up [--quick] [--json FILE]`. Not here: filling and waiting (backlog.py).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from benchmarks.backlog import Worked, stop_workers, work_off
from benchmarks.cells import MeasuredCell, measured_cell
from benchmarks.end_to_end_step import Step, hold
from benchmarks.feed import fill
from benchmarks.figures import Case, Goal, Run, Target, write_report

ROLES: Final = ("tracker", "sink", "gateway")
AGENTS: Final = ("tracker", "sink")
EVENTS: Final = 1_000_000
QUICK_EVENTS: Final = 100_000
AFTER_RATE: Final = 1_000.0
AFTER_SECONDS: Final = 15.0
GOAL_P99_MS: Final = 2_000.0
GOAL_TIMES: Final = 3.0
GAP_SECONDS: Final = 5.0
SEED: Final = 1

Found = Mapping[str, Worked]
"""By agent."""


def in_turn(events: int) -> Found:
    """Tracker, then sink, each on its own: the sink finds the same events, and the states that came of them."""
    with measured_cell(ROLES) as measured:
        agents = with_backlog(measured, events)
        wanted = measured.accepted()
        return {agent: work_off(measured, {agent: done}, [agent], wanted)[agent] for agent, done in agents.items()}


def at_once(events: int) -> tuple[Found, Step]:
    """Both, as after an outage; then what comes in at the peak rate."""
    with measured_cell(ROLES) as measured:
        found = work_off(measured, with_backlog(measured, events), AGENTS, measured.accepted())
        measured.settled()
        return found, hold(measured, AFTER_RATE, AFTER_SECONDS, GAP_SECONDS)


def with_backlog(measured: MeasuredCell, events: int) -> Mapping[str, Callable[[], int]]:
    """Fill in front of stopped workers; how far each agent is."""
    stop_workers(measured, AGENTS)
    fill(measured.cell.kafka.bootstrap, measured.catalogue, events, SEED)
    return {"tracker": measured.tracked, "sink": measured.stored}


def run_of(worked: Worked) -> Run:
    """One agent's figures; the broker's share beside them."""
    extra = {
        "steady_events_per_second": worked.steady_events_per_second,
        "broker_cpu_us_per_event": 1e6 * worked.broker.cpu_seconds / worked.events,
        "restarts": float(worked.restarts),
    }
    return Run(worked.events, worked.seconds, worked.usage.cpu_seconds, worked.usage.peak_rss_bytes, extra)


def cases_of(found: Mapping[str, Found], events: int) -> list[Case]:
    """One for each agent, alone and beside the other."""
    settings = {"events": events, "partitions": 12, "store": "sqlite", "starts": "with its process"}
    return [
        Case(
            f"{agent}, {how}",
            "a backlog worked off, from the start of the process to the last event; CPU of that agent",
            settings,
            [run_of(worked)],
        )
        for how, by_agent in found.items()
        for agent, worked in by_agent.items()
    ]


def show(cases: Sequence[Case], after: Step) -> Table:
    """A row for each case."""
    table = Table("case", "events/s", "steady/s", "µs/event", "broker µs", "peak MB", title="catching up")
    for column in table.columns[1:]:
        column.justify = "right"
    for case in cases:
        run = case.runs[0]
        table.add_row(
            case.name,
            f"{run.events_per_second:,.0f}",
            f"{run.extra['steady_events_per_second']:,.0f}",
            f"{run.cpu_us_per_event:.1f}",
            f"{run.extra['broker_cpu_us_per_event']:.1f}",
            f"{run.peak_rss_bytes / 1e6:,.0f}",
        )
    p99_ms = after.run.extra["visible_p99_ms"]
    table.caption = f"afterwards {after.rate:,.0f} events/s are visible after {p99_ms:,.0f} ms (99 %)"
    return table


def targets_of(cases: Sequence[Case], after: Step) -> list[Target]:
    """Both together must be faster than what comes in at the peak, by far; and all be well afterwards."""
    slowest = min((case for case in cases if "beside" in case.name), key=lambda case: case.runs[0].events_per_second)
    times = slowest.runs[0].events_per_second / AFTER_RATE
    return [
        Target("catching up, times the peak rate of 1,000/s", times, GOAL_TIMES, Goal.AT_LEAST, f"CPU: {slowest.name}"),
        Target(
            "after catching up, visible p99 in ms",
            after.run.extra["visible_p99_ms"],
            GOAL_P99_MS,
            Goal.AT_MOST,
            "how long tracker and sink gather what they write together",
        ),
    ]


@click.command()
@click.option("--quick", is_flag=True, help=f"{QUICK_EVENTS:,} events.")
@click.option("--events", type=click.IntRange(1_000), default=EVENTS, show_default=True, help="Of each backlog.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(quick: bool, events: int, json_path: Path | None) -> None:
    """Measure catching up."""
    events = QUICK_EVENTS if quick else events
    alone = in_turn(events)
    together, after = at_once(events)
    cases = cases_of({"alone": alone, "beside each other": together}, events)
    Console().print(show(cases, after))
    if json_path is not None:
        write_report(json_path, cases, targets_of(cases, after))


if __name__ == "__main__":
    main()
