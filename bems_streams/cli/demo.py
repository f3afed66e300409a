"""`bems demo`: puts the one-machine cell together, feeds it, and shows where to look.

Not here: the cell (local/cell.py), feeding and accounting (local/demo.py).
"""

import json
import secrets
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.stores import default_store_url, open_reader
from bems_streams.config import Settings
from bems_streams.local.account import Accountant
from bems_streams.local.cell import Cell, CellOptions
from bems_streams.local.cell_topics import make_topics
from bems_streams.local.demo import Report, feed_once
from bems_streams.local.kafka import EmbeddedKafkaError
from bems_streams.local.supervisor import ChildState, ChildStatus
from bems_streams.local.visibility import VisibilityProbe
from bems_streams.topics import CatalogueError, load_catalogue

MONTH_SECONDS: Final = 30 * 86_400
MONTH_IN_TWO_MINUTES: Final = MONTH_SECONDS / 120
READY_SECONDS: Final = 90.0
POISON: Final = 18


@dataclass(frozen=True, slots=True)
class Plan:
    """What to feed, and how fast limits pass."""

    arguments: list[str]
    time_scale: float


@click.command(name="demo", short_help="A whole cell on this machine, fed and watched.")
@click.option("--events", type=click.IntRange(1), default=20_000, show_default=True, help="About how many to make up.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Events per second. [a month in two minutes]")
@click.option("--seed", type=click.IntRange(0), help="Same seed, same invoices. [a new one each time]")
@click.option("--feed", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Feed this file.")
@click.option("--time-scale", type=click.FloatRange(0, min_open=True), help="Divides the stuck limits.")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True)
@click.option(
    "--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep everything here. [.bems/demo]"
)
@click.option("--exit", "leave", is_flag=True, help="Stop when everything accepted is accounted for.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the summary here.")
def command(
    *,
    events: int,
    rate: float | None,
    seed: int | None,
    path: Path | None,
    time_scale: float | None,
    brokers: str,
    state_dir: Path | None,
    leave: bool,
    json_path: Path | None,
) -> None:
    """Run broker, gateway, tracker, sink and console on this machine, and feed them a month of invoices.

    Any process may be killed: it is started again and nothing is lost. Ctrl-C stops everything in order. With --exit
    the exit code tells whether accepted == stored + duplicates + dead-lettered. What --state-dir keeps can be read
    afterwards with `bems export`, `bems stuck` and `bems invoice`, and the demo may be run again on it.
    """
    settings = Settings()
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stop everything in order
    plan = _plan(events, rate or (1000.0 if leave else None), seed, path, time_scale)
    with ExitStack() as held:
        if state_dir is None and leave:
            state_dir = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="bems-demo-")))
        options = CellOptions(
            state_dir or settings.state_dir / "demo",
            catalogue=settings.catalogue,
            brokers=int(brokers),
            gateway_port=None if leave else 8080,
            console_port=None if leave else 8090,
            time_scale=plan.time_scale,
            environment={} if brokers == "1" else {"BEMS_REPLICATION": "3", "BEMS_MIN_INSYNC_REPLICAS": "2"},
        )
        try:
            report = _run(options, plan, leave, console, held)
        except (EmbeddedKafkaError, CatalogueError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            console.print("stopping everything in order")
            return
    if json_path is not None:
        json_path.write_text(json.dumps(report.document(), indent=2) + "\n", encoding="utf-8")
    if not report.account.closed:
        console.print("[red]Some accepted events are not accounted for.[/] Look at the logs in the state folder.")
        sys.exit(1)


def _plan(events: int, rate: float | None, seed: int | None, path: Path | None, time_scale: float | None) -> Plan:
    if path is not None:
        return Plan(["feed", str(path), *(["--rate", str(rate)] if rate else [])], time_scale or 1.0)
    pace = ["--rate", str(rate)] if rate else ["--compress", str(MONTH_IN_TWO_MINUTES)]
    scale = MONTH_SECONDS * rate / events if rate else MONTH_IN_TWO_MINUTES
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    arguments = ["simulate", "--events", str(events), "--seed", str(chosen), "--poison", str(POISON), *pace]
    return Plan(arguments, time_scale or scale)


def _run(options: CellOptions, plan: Plan, leave: bool, console: Console, held: ExitStack) -> Report:
    settings = Settings()
    overrides = settings.overrides
    if options.brokers == 3:
        overrides = type(overrides)(overrides.partitions, 3, 2)
    catalogue = load_catalogue(options.catalogue, overrides)
    said = _Said(console)
    cell = held.enter_context(Cell(options, partial(make_topics, catalogue), progress=said.line, on_change=said.change))
    store_url = default_store_url(options.state_dir)
    reader = open_reader(store_url)
    held.callback(reader.close)
    topics = list(catalogue.stage_topics.values())
    accountant = Accountant(cell.kafka.bootstrap, topics, catalogue.partitions, reader)
    _await_ready(cell, console)
    console.print(f"[bold]console[/]  {cell.addresses.console}\n[bold]gateway[/]  {cell.addresses.gateway}/docs")
    console.print(
        f"broker   {cell.kafka.bootstrap}\nstate    {options.state_dir} (logs in {options.state_dir / 'logs'})"
    )
    arguments = [*plan.arguments, *(["--bootstrap", cell.kafka.bootstrap] if "simulate" in plan.arguments else [])]
    with VisibilityProbe(reader, SystemClock()) as probe:
        report = feed_once(cell, arguments, probe, accountant)
        Console().print(report.table())
        if not leave:
            console.print(f"Everything stays up: look at {cell.addresses.console}. Ctrl-C stops it all, in order.")
            while True:
                time.sleep(1.0)
    return report


def _await_ready(cell: Cell, console: Console) -> None:
    """Every role answers ready. Says which one is not when that takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    with console.status("starting gateway, tracker, sink and console"):
        while waiting := cell.addresses.not_ready():
            if time.monotonic() > deadline:
                reasons = "; ".join(f"{name} {reason}" for name, reason in waiting.items())
                logs = cell.options.state_dir / "logs"
                raise click.ClickException(f"not ready after {READY_SECONDS:g} s: {reasons}. See {logs}")
            time.sleep(0.1)


class _Said:
    """Tells the terminal what happens to the processes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str) -> None:
        """Progress of the broker."""
        self._console.print(text)

    def change(self, status: ChildStatus) -> None:
        """Only what nobody asked for."""
        if status.state is ChildState.WAITING:
            self._console.print(f"[yellow]{status.name} ended ({status.exit_code}); it is started again[/]")
