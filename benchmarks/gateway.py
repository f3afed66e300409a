"""What durability costs at the gateway: events a second, latency and CPU, beside parsing only and FastAPI.

All servers stand over one broker and are measured in turns, because only ratios say something on a shared machine.
Run `python -m benchmarks.gateway [--quick] [--json FILE]`. Not here: the load itself (http_load.py).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import click
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.cluster import cluster
from benchmarks.domain import payload
from benchmarks.figures import Case, Run, write_report
from benchmarks.gateway_peers.line_up import GATEWAY, PARSE_ONLY, SUBJECTS, Subject
from benchmarks.gateway_peers.servers import Server, serving
from benchmarks.gateway_peers.targets import BATCH, HALF_LOAD, SINGLE, case_name, targets
from benchmarks.http_load import Load, load, load_at, post
from benchmarks.peers.environment import peers_python
from benchmarks.processes import Meter, only

PATH: Final = "/v1/ingestion/events"
PARTITIONS: Final = 12
WARM_UP_SECONDS: Final = 1.0
EVENTS: Final = 2_000


class Shape(NamedTuple):
    """Of a load. `connections` are busy at once, the same for every server."""

    events_per_request: int
    connections: int


LOADS: Final = {
    SINGLE: Shape(1, 256),  # so many that a round trip to the broker does not bound what is accepted
    BATCH: Shape(100, 64),
    HALF_LOAD: Shape(100, 64),
}


@dataclass(frozen=True, slots=True)
class Bench:
    """Servers over one broker, by the name of their subject."""

    servers: Mapping[str, Server]
    broker: psutil.Process
    seconds: float

    def measure(self, name: str, load_name: str, events_per_second: float | None = None) -> Run:
        """One server under one load; at a rate when one is given. ClickException when a request is refused."""
        server, (size, connections) = self.servers[name], LOADS[load_name]
        requests = bodies(size)
        before = server.loop_cpu_seconds(), _cpu_seconds(self.broker)
        with Meter(only(server.process.pid)) as meter:
            if events_per_second is None:
                seen = load(server.port, requests, connections, self.seconds)
            else:
                seen = load_at(server.port, requests, connections, self.seconds, events_per_second / size)
        after = server.loop_cpu_seconds(), _cpu_seconds(self.broker)
        if seen.refused:
            raise click.ClickException(f"{name}: {seen.refused} of {seen.answers} requests were not accepted")
        return _run(seen, size, meter, [end - begin for begin, end in zip(before, after, strict=True)])


def _run(seen: Load, size: int, meter: Meter, used: Sequence[float]) -> Run:
    events = seen.answers * size
    loop_us, broker_us, sender_us = (1e6 * seconds / events for seconds in (*used, seen.cpu_seconds))
    return Run(
        events=events,
        seconds=seen.seconds,
        cpu_seconds=meter.usage.cpu_seconds,
        peak_rss_bytes=meter.usage.peak_rss_bytes,
        extra={
            "p50_ms": seen.p50_ms,
            "p99_ms": seen.p99_ms,
            "loop_cpu_us_per_event": loop_us,
            "broker_cpu_us_per_event": broker_us,
            "sender_cpu_us_per_event": sender_us,
        },
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def bodies(events_per_request: int) -> list[bytes]:
    """Different requests, so that nothing is measured from a cache."""
    singles = [payload(invoice, 0) for invoice in range(EVENTS)]
    if events_per_request == 1:
        return [post(PATH, body) for body in singles]
    slices = [singles[start : start + events_per_request] for start in range(0, EVENTS, events_per_request)]
    return [post(PATH, b"[" + b",".join(events) + b"]") for events in slices]


@contextmanager
def bench(subjects: Sequence[Subject], seconds: float, progress: Progress) -> Iterator[Bench]:
    """All servers, over a real broker with the topics of the catalogue."""
    bar = progress.add_task("", total=None)

    def tell(text: str) -> None:
        progress.update(bar, description=text)

    python = peers_python(tell)
    with ExitStack() as held:
        tell("starting a broker")
        running = held.enter_context(cluster(partitions=PARTITIONS))
        folder = Path(running.folder)
        servers = {}
        for subject in subjects:
            tell(f"starting {subject.name}")
            command = subject.command(running.bootstrap, python)
            servers[subject.name] = held.enter_context(serving(subject.name, command, folder))
        progress.remove_task(bar)
        yield Bench(servers, psutil.Process(running.broker_pids[0]), seconds)


def rounds_of(held: Bench, subjects: Sequence[Subject], rounds: int, progress: Progress) -> Mapping[str, list[Run]]:
    """Every server in turn under every load, the gateway also at half of the batched rate that it reached so far."""
    turns = [(subject.name, load_name) for load_name in (SINGLE, BATCH) for subject in subjects]
    bar = progress.add_task("", total=rounds * (len(turns) + 1))
    warm = Bench(held.servers, held.broker, WARM_UP_SECONDS)
    runs: dict[str, list[Run]] = {}
    for number in range(rounds):
        for name, load_name in turns if number % 2 == 0 else turns[::-1]:
            progress.update(bar, description=case_name(name, load_name))
            if number == 0:
                warm.measure(name, load_name)
            runs.setdefault(case_name(name, load_name), []).append(held.measure(name, load_name))
            progress.advance(bar)
        half = case_name(GATEWAY, HALF_LOAD)
        progress.update(bar, description=half)
        rate = max(run.events_per_second for run in runs[case_name(GATEWAY, BATCH)]) / 2
        runs.setdefault(half, []).append(held.measure(GATEWAY, HALF_LOAD, rate))
        progress.advance(bar)
    return runs


def cases_of(runs: Mapping[str, list[Run]], subjects: Sequence[Subject], settings: Mapping[str, object]) -> list[Case]:
    """By load, in the order of the subjects."""
    loads = [(load_name, subject) for load_name in LOADS for subject in subjects]
    return [
        Case(name, subject.measures, {**settings, **subject.settings, **LOADS[load_name]._asdict()}, found)
        for load_name, subject in loads
        if (found := runs.get(name := case_name(subject.name, load_name)))
    ]


COLUMNS: Final = {
    "events_per_second": "events/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_us_per_event": "CPU µs/event",
    "loop_cpu_us_per_event": "event loop",
    "broker_cpu_us_per_event": "broker",
    "sender_cpu_us_per_event": "load",
}


def show(cases: Sequence[Case], console: Console) -> None:
    """Medians. `loop alone`: what one core would do if only the event loop ran. Ratios are to parsing only."""
    table = Table("", *COLUMNS.values(), "loop alone", "rate ratio", "CPU ratio", title="gateway")
    bare = {case.settings["events_per_request"]: case for case in cases if case.name.startswith(PARSE_ONLY)}
    for case in cases:
        cells = []
        for figure in COLUMNS:
            value = case.spread(figure).median
            cells.append(f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}")
        beside = bare[case.settings["events_per_request"]]
        rate = case.spread("events_per_second").median / beside.spread("events_per_second").median
        cpu = beside.spread("cpu_us_per_event").median / case.spread("cpu_us_per_event").median
        ceiling = 1e6 / case.spread("loop_cpu_us_per_event").median
        table.add_row(case.name, *cells, f"{ceiling:,.0f}", f"{rate:.2f}", f"{cpu:.2f}")
    console.print(table)


@click.command()
@click.option("--seconds", type=float, default=4.0, show_default=True, help="Of each run.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Medians are shown.")
@click.option("--only", multiple=True, metavar="NAME", help="Only peers whose names begin so; may be repeated.")
@click.option("--quick", is_flag=True, help="One round of a second each: shows that all works, measures roughly.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(seconds: float, rounds: int, only: Sequence[str], *, quick: bool, json_path: Path | None) -> None:
    """Measure the gateway beside others that take the same events."""
    if quick:
        seconds, rounds = 1.0, 1
    needed = (GATEWAY, PARSE_ONLY)
    subjects = [each for each in SUBJECTS if not only or each.name in needed or each.name.startswith(tuple(only))]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, transient=True, refresh_per_second=1) as progress,
        bench(subjects, seconds, progress) as held,
    ):
        runs = rounds_of(held, subjects, rounds, progress)
    cases = cases_of(runs, subjects, {"seconds": seconds, "partitions": PARTITIONS, "brokers": 1})
    console = Console(width=None if sys.stdout.isatty() else 160)
    show(cases, console)
    reached = targets(cases)
    for target in reached:
        verdict = "met   " if target.met else "MISSED"
        console.print(f"{verdict}  {target.name}: {target.value:,.2f}, {target.direction} {target.goal:g}")
    if json_path is not None:
        write_report(json_path, cases, reached)


if __name__ == "__main__":
    main()
