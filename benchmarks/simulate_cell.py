"""A cell of many workers on paper: events queue through trackers and sinks with measured times; two of them die.

Shows visibility where no machine of ours reaches: 10,000 events/s by default. A batch takes what its events cost and a
fixed part, as measured; a worker takes all that waits, up to a limit. Where one is dead its partitions wait. Run
`python -m benchmarks.simulate_cell [--rate 10000] [--markdown]`. The same seed gives the same table.
Not here: how many workers that takes (bems_streams/capacity), measuring (footprint.py).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from random import Random
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bems_streams.capacity.demand import Demand
from bems_streams.capacity.figure import Section
from bems_streams.capacity.inputs import Inputs, default_inputs
from bems_streams.capacity.plan import plan

MAX_RECORDS: Final = {"tracker": 8000, "sink": 5000}
"""Of a batch, as in agents/."""
DEAD_FROM: Final = 20.0
CUT_SECONDS: Final = 2.0
"""Accepted so shortly before a death, an event may be in the batch that it cuts short."""
WARM_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Worker:
    """Seconds of a batch, of each event in it, the most in one, and from when until when it is dead."""

    batch_seconds: float
    event_seconds: float
    max_records: int
    dead_from: float = float("inf")
    dead_until: float = float("inf")

    def handle(self, arrivals: Sequence[float]) -> Iterator[tuple[int, float]]:
        """Batches in order: up to which arrival, and when done. One that death cut short is done again."""
        free, first = 0.0, 0
        while first < len(arrivals):
            start = max(free, arrivals[first])
            if self.dead_from <= start < self.dead_until:
                start = self.dead_until
            last = min(bisect_right(arrivals, start, first), first + self.max_records)
            done = start + self.batch_seconds + (last - first) * self.event_seconds
            if start < self.dead_from < done:
                free = self.dead_until
                continue
            yield last, done
            free, first = done, last


@dataclass(frozen=True, slots=True)
class Seen:
    """When an event came, when its row was visible, and when its invoice's new state was."""

    arrived: float
    row: float
    state: float


@dataclass(frozen=True, slots=True)
class Cell:
    """Workers by kind; partition p belongs to the worker p modulo their number."""

    rate: float
    partitions: int
    trackers: Sequence[Worker]
    sinks: Sequence[Worker]


def simulate(cell: Cell, seconds: float, seed: int) -> list[Seen]:
    """Every event of so many seconds, with both of its visibilities."""
    random = Random(seed)
    arrivals = [list(_poisson(random, cell.rate / cell.partitions, seconds)) for _ in range(cell.partitions)]
    tracked = _through(cell.trackers, arrivals)
    rows, states = _through(cell.sinks, arrivals), _through(cell.sinks, tracked)
    return [
        Seen(*moments)
        for partition in range(cell.partitions)
        for moments in zip(arrivals[partition], rows[partition], states[partition], strict=True)
    ]


def _poisson(random: Random, rate: float, seconds: float) -> Iterator[float]:
    moment = random.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += random.expovariate(rate)


def _through(workers: Sequence[Worker], arrivals: Sequence[Sequence[float]]) -> list[list[float]]:
    """When each event of each partition is done."""
    done: list[list[float]] = [[] for _ in arrivals]
    for number, worker in enumerate(workers):
        own = range(number, len(arrivals), len(workers))
        queue = list(merge(*([(moment, partition) for moment in arrivals[partition]] for partition in own)))
        first = 0
        for last, moment in worker.handle([arrived for arrived, _ in queue]):
            for _, partition in queue[first:last]:
                done[partition].append(moment)
            first = last
    return done


def cell_of(rate: float, invoices: float, inputs: Inputs, dead_seconds: float) -> Cell:
    """As `bems capacity` lays it out; the first tracker and the first sink are dead for so long."""
    found = plan(Demand(rate, invoices, 30), inputs)

    def workers(role: str) -> list[Worker]:
        count = int(found.value(Section.PROCESSES, role))
        event_seconds = inputs[f"{role}_cpu_us"] / inputs["core_ratio"] / 1e6
        worker = Worker(inputs[f"{role}_batch_ms"] / 1e3, event_seconds, MAX_RECORDS[role])
        return [replace(worker, dead_from=DEAD_FROM, dead_until=DEAD_FROM + dead_seconds)] + [worker] * (count - 1)

    partitions = int(found.value(Section.BROKERS, "partitions of a topic"))
    return Cell(rate, partitions, workers("tracker"), workers("sink"))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def rows(cell: Cell, seen: Sequence[Seen], dead_seconds: float) -> Iterator[Sequence[str]]:
    """A row of the table per time and visibility."""
    back = DEAD_FROM + dead_seconds
    late = [each.arrived for each in seen if each.arrived > back and max(each.row, each.state) - each.arrived > 2]
    caught_up = max(late, default=back)
    times = (
        ("all is well", WARM_SECONDS, DEAD_FROM - CUT_SECONDS),
        (f"a tracker and a sink are dead for {dead_seconds:g} s", DEAD_FROM - CUT_SECONDS, back),
        (f"they catch up, for {caught_up - back:.1f} s", back, caught_up),
        ("all is well again", caught_up, float("inf")),
    )
    for time, begin, end in times:
        chosen = [each for each in seen if begin < each.arrived <= end]
        for name, visible in (("row of the event", [each.row - each.arrived for each in chosen]),
                              ("state of the invoice", [each.state - each.arrived for each in chosen])):  # fmt: skip
            if visible:
                visible.sort()
                prompt = bisect_right(visible, 2.0) / len(visible)
                shown = [f"{percentile(visible, share):.2f} s" for share in (0.5, 0.99, 1.0)]
                yield time, name, *shown, f"{100 * prompt:.1f} %"


HEADINGS: Final = ("when accepted", "visible after", "median", "99 %", "longest", "within 2 s")


@click.command()
@click.option("--rate", type=click.FloatRange(1), default=10_000.0, show_default=True, help="Events per second.")
@click.option("--invoices", type=click.FloatRange(1), default=100e6, show_default=True, help="Open at once.")
@click.option("--dead-seconds", type=click.FloatRange(0), default=60.0, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=180.0, show_default=True, help="Of arrivals.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table, for documents.")
def main(rate: float, invoices: float, dead_seconds: float, seconds: float, seed: int, as_markdown: bool) -> None:
    """Print how soon events are visible before, while and after one tracker and one sink are dead."""
    cell = cell_of(rate, invoices, default_inputs(), dead_seconds)
    found = list(rows(cell, simulate(cell, seconds, seed), dead_seconds))
    title = (
        f"{rate:,.0f} events/s, {cell.partitions} partitions, {len(cell.trackers)} trackers, {len(cell.sinks)} sinks"
    )
    if as_markdown:
        print(f"{title}, seed {seed}:\n")
        for row in (HEADINGS, ["---"] * len(HEADINGS), *found):
            print(f"| {' | '.join(row)} |")
        return
    table = Table(*HEADINGS, title=title)
    for row in found:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
