"""What a tracker process costs per event while it works off a backlog, every guarantee on: CPU, rate and memory.

Run `python -m benchmarks.tracker [--quick] [--json FILE]`; `--beside DIR` measures another checkout in turns, for
before and after. Not here: other engines (tracker_peers.py), the cost at a steady rate (tracker_rate.py).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bems_streams.runtime.positions import log_ends
from bems_streams.topics import Catalogue
from benchmarks.cluster import cluster
from benchmarks.feed import fill
from benchmarks.figures import Case, Goal, Run, Target, write_report
from benchmarks.tracker_process import TrackerProcess, forget, places_of

GOAL_US: Final = 10.0
POLL_SECONDS: Final = 0.05
STALL_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What had been committed, and what it had cost, at one moment."""

    seconds: float
    cpu_seconds: float
    handled: int


def measure(bootstrap: str, catalogue: Catalogue, events: int, *, checkout: Path | None = None) -> Run:
    """One drain of stage topics that hold `events` records already, by one real `bems worker tracker` on an empty disk.

    Topics may be used again and again: before each drain the group and the changelog of an earlier one are removed.
    The Run covers the whole drain: from the moment the worker owns its partitions (before its first fetch) until the
    offsets of all events are committed, which is after their states are in the changelog and in the table.
    `extra` holds the same for the second half of the events (`steady_…`), the CPU from process start on, imports and
    group membership included (`started_cpu_us_per_event`), and `records_per_transaction`.
    `checkout`: run the code in that folder instead of this one. ClickException when the worker does not move for two
    minutes.
    """
    ends = log_ends({"bootstrap.servers": bootstrap}, places_of(catalogue), 30.0)
    held = sum(end - start for start, end in ends.values())
    if held != events:
        raise click.ClickException(f"the stage topics hold {held} records, not {events}")
    forget(bootstrap, catalogue)
    with TrackerProcess(bootstrap, catalogue, checkout) as tracker:
        tracker.await_ready()
        samples = list(_samples(tracker, {place: start for place, (start, _) in ends.items()}, events))
        transactions = tracker.transactions()
        peak_rss_bytes = tracker.peak_rss_bytes
    return _run(samples, events, transactions, peak_rss_bytes)


def _samples(tracker: TrackerProcess, starts: Mapping[tuple[str, int], int], events: int) -> Iterator[Sample]:
    handled, moved = -1, time.monotonic()
    while handled < events:
        committed = tracker.group.committed(list(starts))
        now = sum(offset - starts[place] for place, offset in committed.items())
        if now != handled:
            handled, moved = now, time.monotonic()
        elif time.monotonic() - moved > STALL_SECONDS:
            raise click.ClickException(f"the tracker stands at {handled} of {events}: {tracker.log_tail()}")
        yield Sample(time.perf_counter(), tracker.cpu_seconds(), handled)
        time.sleep(POLL_SECONDS)


def _run(samples: Sequence[Sample], events: int, transactions: float, peak_rss_bytes: int) -> Run:
    first, last = samples[0], samples[-1]
    middle = next(sample for sample in samples if sample.handled >= events / 2)
    steady_events = last.handled - middle.handled
    if not steady_events:
        raise click.ClickException(f"{events} events were handled within {POLL_SECONDS} s: give more --events")
    steady_seconds = last.seconds - middle.seconds
    return Run(
        events=events,
        seconds=last.seconds - first.seconds,
        cpu_seconds=last.cpu_seconds - first.cpu_seconds,
        peak_rss_bytes=peak_rss_bytes,
        extra={
            "steady_cpu_us_per_event": 1e6 * (last.cpu_seconds - middle.cpu_seconds) / steady_events,
            "steady_events_per_second": steady_events / steady_seconds,
            "started_cpu_us_per_event": 1e6 * last.cpu_seconds / events,
            "records_per_transaction": events / max(1.0, transactions),
        },
    )


COLUMNS: Final = {
    "cpu_us_per_event": "CPU µs/event",
    "steady_cpu_us_per_event": "second half",
    "started_cpu_us_per_event": "with start",
    "events_per_second": "events/s",
    "records_per_transaction": "events per transaction",
    "peak_rss_bytes": "peak RSS MB",
}
MEGABYTE: Final = 1 << 20


def show(cases: Sequence[Case], console: Console) -> None:
    """Medians, and the spread of each."""
    table = Table("", *COLUMNS.values(), title="tracker, working off a backlog")
    for case in cases:
        cells = []
        for name in COLUMNS:
            spread, unit = case.spread(name), MEGABYTE if name == "peak_rss_bytes" else 1
            digits = 1 if "us_per" in name else 0
            median, lowest, highest = (value / unit for value in (spread.median, spread.lowest, spread.highest))
            cells.append(f"{median:,.{digits}f} ({lowest:,.{digits}f}-{highest:,.{digits}f})")
        table.add_row(case.name, *cells)
    console.print(table)


@click.command()
@click.option("--events", type=click.IntRange(1000), default=600_000, show_default=True)
@click.option("--partitions", type=click.IntRange(1), default=8, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Medians are shown.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--quick", is_flag=True, help="One round of 100,000 events: shows that all works, measures roughly.")
@click.option("--beside", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another checkout.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(
    events: int, partitions: int, rounds: int, seed: int, *, quick: bool, beside: Path | None, json_path: Path | None
) -> None:
    """Measure the tracker on a backlog."""
    if quick:
        events, rounds = 100_000, 1
    console = Console()
    checkouts = {"tracker": None, **({} if beside is None else {"tracker beside": beside})}
    runs: dict[str, list[Run]] = {name: [] for name in checkouts}
    with cluster(partitions=partitions) as running:
        fill(running.bootstrap, running.catalogue, events, seed)
        turns = [turn for _ in range(rounds) for turn in checkouts.items()]
        for name, checkout in turns:
            with console.status(f"{name}: {events:,} events"):
                runs[name].append(measure(running.bootstrap, running.catalogue, events, checkout=checkout))
    settings = {"events": events, "partitions": partitions, "seed": seed, "brokers": 1}
    measures = "draining a backlog of four stage topics on an empty disk, with changelog, table, status and ledger"
    cases = [Case(name, measures, settings, found) for name, found in runs.items()]
    show(cases, console)
    target = Target(
        "tracker, CPU µs per event in the second half",
        cases[0].spread("steady_cpu_us_per_event").median,
        GOAL_US,
        Goal.AT_MOST,
        "one core of Python: see docs/performance/tracker.md",
    )
    if json_path is not None:
        write_report(json_path, cases, [target])


if __name__ == "__main__":
    main()
