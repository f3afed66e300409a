"""What durability costs at the gateway: events a second, latency and CPU, next to a handler that only parses.

Both are measured in turns within one run, because only their ratio says something on a shared machine.
Run `python -m benchmarks.gateway [--seconds 3] [--rounds 3] [--json FILE]`. Not here: the load itself (http_load.py).
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click
import httpx
import psutil
from rich.console import Console
from rich.table import Table

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.topics import load_catalogue
from bems_streams.topics_plan import Patience, apply_plan
from benchmarks.domain import payload
from benchmarks.http_load import load, post

PATH: Final = "/v1/ingestion/events"
BATCH: Final = 100
WARM_UP_SECONDS: Final = 1.0


class Subject(NamedTuple):
    """A server under load."""

    name: str
    port: int
    process: psutil.Process


class Figure(NamedTuple):
    """Medians over the rounds."""

    subject: str
    events_per_request: int
    requests_per_second: float
    events_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_event: float


@contextmanager
def server(name: str, command: Sequence[str]) -> Iterator[Subject]:
    """A process that prints its address, for the length of a block."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition("http://")[2].partition("/")[0].rpartition(":")[2])
        yield Subject(name, port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.communicate(timeout=30)


def bodies(events_per_request: int) -> list[bytes]:
    """Different requests, so that nothing is measured from a cache."""
    singles = [payload(invoice, 0) for invoice in range(2_000)]
    if events_per_request == 1:
        return [post(PATH, body) for body in singles]
    slices = [singles[start : start + events_per_request] for start in range(0, len(singles), events_per_request)]
    return [post(PATH, b"[" + b",".join(events) + b"]") for events in slices]


def measure(subject: Subject, events_per_request: int, connections: int, seconds: float) -> Figure:
    """One round."""
    requests = bodies(events_per_request)
    before = subject.process.cpu_times()
    seen = load("127.0.0.1", subject.port, requests, connections, seconds)
    after = subject.process.cpu_times()
    if seen.refused:
        raise click.ClickException(f"{subject.name}: {seen.refused} of {seen.answers} requests were not accepted")
    events = seen.answers * events_per_request
    cpu_us = 1e6 * (after.user + after.system - before.user - before.system)
    rate = seen.answers / seen.seconds
    figures = (rate, rate * events_per_request, seen.p50_ms, seen.p99_ms, cpu_us / events)
    return Figure(subject.name, events_per_request, *figures)


def median(figures: Sequence[Figure]) -> Figure:
    """Of each column over the rounds."""
    columns = list(zip(*figures, strict=True))
    return Figure(figures[0].subject, figures[0].events_per_request, *map(statistics.median, columns[2:]))


def show(figures: Sequence[Figure], console: Console) -> None:
    """A table; the last column is the rate in relation to parsing only."""
    table = Table("subject", "events/request", "requests/s", "events/s", "p50 ms", "p99 ms", "CPU µs/event", "ratio")
    bare = {figure.events_per_request: figure for figure in figures if figure.subject == "parse only"}
    for figure in figures:
        ratio = figure.events_per_second / bare[figure.events_per_request].events_per_second
        table.add_row(
            figure.subject,
            str(figure.events_per_request),
            f"{figure.requests_per_second:,.0f}",
            f"{figure.events_per_second:,.0f}",
            f"{figure.p50_ms:.1f}",
            f"{figure.p99_ms:.1f}",
            f"{figure.cpu_us_per_event:.1f}",
            f"{ratio:.2f}",
        )
    console.print(table)


@contextmanager
def subjects() -> Iterator[list[Subject]]:
    """A gateway over a real broker, and the handler to compare it with."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        kafka = held.enter_context(EmbeddedKafka(folder))
        apply_plan(load_catalogue(), KafkaTopicAdmin(kafka.bootstrap, 10), Patience(30))
        command = ["-c", "from bems_streams.cli.main import main; main()", "gateway", "--port", "0"]
        gateway = held.enter_context(server("gateway", [*command, "--bootstrap", kafka.bootstrap]))
        bare = held.enter_context(server("parse only", ["-m", "benchmarks.parse_only"]))
        await_ready(gateway.port)
        yield [bare, gateway]


def await_ready(port: int) -> None:
    """Return once the gateway takes events."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
        for _ in range(100):
            if client.get("/readyz").status_code == 200:
                return
            time.sleep(0.1)
    raise click.ClickException("the gateway did not become ready within 10 s")


@click.command()
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Of each round.")
@click.option("--rounds", type=int, default=3, show_default=True, help="Per subject; medians are shown.")
@click.option("--connections", type=int, default=64, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(seconds: float, rounds: int, connections: int, json_path: Path | None) -> None:
    """Measure the gateway next to a handler that only parses."""
    console = Console()
    figures = []
    with subjects() as both:
        for events_per_request in (1, BATCH):
            for subject in both:
                measure(subject, events_per_request, connections, WARM_UP_SECONDS)
            seen = [[measure(s, events_per_request, connections, seconds) for s in both] for _ in range(rounds)]
            figures += [median(turns) for turns in zip(*seen, strict=True)]
    show(figures, console)
    report = {"cpus": os.cpu_count(), "connections": connections, "figures": [f._asdict() for f in figures]}
    text = json.dumps(report, indent=2)
    if json_path is None:
        console.print_json(text)
    else:
        json_path.write_text(text)


if __name__ == "__main__":
    main()
