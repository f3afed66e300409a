"""How stopped workers, started again, work off the backlog that waits in their topics.

Not here: the backlog (feed.py), what is measured of it (catch_up.py, scale_out.py).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.cells import BROKER, MeasuredCell, RoleMeter
from benchmarks.processes import Usage

STOP_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.2
GIVE_UP_SECONDS: Final = 900.0
BEGUN_SHARE: Final = 0.02
"""What is done by then counts as start-up."""


@dataclass(frozen=True, slots=True)
class Worked:
    """How one agent worked off a backlog. `seconds` from the start of its processes, `steady` once it had begun."""

    events: int
    seconds: float
    steady_events_per_second: float
    usage: Usage
    broker: Usage
    restarts: int


def stop_workers(measured: MeasuredCell, names: Sequence[str]) -> None:
    """In good order, each keeping its state."""
    for name in names:
        measured.cell.processes.stop(name, STOP_SECONDS)


def work_off(
    measured: MeasuredCell, agents: Mapping[str, Callable[[], int]], names: Sequence[str], wanted: int
) -> dict[str, Worked]:
    """Start `names` again and wait until each agent's `done()` has come to `wanted`. By agent.

    ClickException when nothing is done for a quarter of an hour.
    """
    before = {agent: done() for agent, done in agents.items()}
    began = time.monotonic()
    for name in names:
        measured.cell.processes.start_again(name)
    restarts = measured.restarts()
    with RoleMeter(measured.pids) as meter:
        looks = _watch(agents, before, wanted, began)
    return {
        agent: Worked(
            wanted - before[agent],
            looks[agent][-1][0],
            _steady(looks[agent]),
            meter.usage[agent],
            meter.usage[BROKER],
            measured.restarts() - restarts,
        )
        for agent in agents
    }


def _watch(
    agents: Mapping[str, Callable[[], int]], before: Mapping[str, int], wanted: int, began: float
) -> dict[str, list[tuple[float, int]]]:
    """(second, events done) of each agent until all are done."""
    looks: dict[str, list[tuple[float, int]]] = {agent: [] for agent in agents}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=1, transient=True) as bar:
        tasks = {agent: bar.add_task(agent, total=wanted - before[agent]) for agent in agents}
        waiting = set(agents)
        while waiting:
            for agent in sorted(waiting):
                done, second = agents[agent](), time.monotonic() - began
                looks[agent].append((second, done - before[agent]))
                bar.update(tasks[agent], completed=done - before[agent])
                if done >= wanted:
                    waiting.discard(agent)
            if time.monotonic() - began > GIVE_UP_SECONDS:
                raise click.ClickException(f"{', '.join(waiting)} did not catch up in {GIVE_UP_SECONDS:g} s")
            time.sleep(LOOK_SECONDS)
    return looks


def _steady(looks: Sequence[tuple[float, int]]) -> float:
    """Events a second once it had begun; over everything when it was done within few looks."""
    end_second, all_done = looks[-1]
    begun = next((look for look in looks if look[1] >= BEGUN_SHARE * all_done), looks[0])
    if begun[0] >= end_second:
        return all_done / end_second
    return (all_done - begun[1]) / (end_second - begun[0])
