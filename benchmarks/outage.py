"""How the sink gets over an outage of its store: backlog, rate of catching up, visibility before and after.

A whole cell, fed at a steady rate before, during and after; the store is away for `--minutes`. Run `python -m
benchmarks.outage [--rate 1000] [--minutes 10] [--json FILE]`. Not here: the troubles (bems_streams/local).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin
from bems_streams.adapters.stores import open_reader
from bems_streams.local.account import Account, Accountant
from bems_streams.local.cell import Cell, CellOptions
from bems_streams.local.faulty_store import Troubles, ask_for
from bems_streams.ports import StoreReader
from bems_streams.topics import load_catalogue
from bems_streams.topics_plan import Patience, apply_plan

STEADY_SECONDS: Final = 30.0
GOAL_CATCH_UP: Final = 3.0
GOAL_P99_MS: Final = 2000.0
GIVE_UP_SECONDS: Final = 1800.0


class Outage:
    """One run on one cell."""

    def __init__(self, cell: Cell, control: Path, accountant: Accountant, reader: StoreReader) -> None:
        self._cell = cell
        self._control = control
        self._accountant = accountant
        self._reader = reader

    def run(self, rate: float, minutes: float, bar: Progress) -> dict[str, Any]:
        """Steady, away, back, caught up, steady again."""
        spec = self._cell.spec("gateway")
        seconds = minutes * 60 + 3 * STEADY_SECONDS
        command = [*spec.command[:3], "simulate", "--events", str(int(rate * seconds * 3)), "--rate", str(rate)]
        with subprocess.Popen(
            [*command, "--url", self._cell.addresses.gateway], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as feeder:
            try:
                return self._phases(rate, minutes, bar)
            finally:
                feeder.terminate()

    def _phases(self, rate: float, minutes: float, bar: Progress) -> dict[str, Any]:
        self._wait(bar, "steady", STEADY_SECONDS)
        before = self._visibility_ms()
        ask_for(self._control, Troubles(away=True))
        self._wait(bar, "the store is away", minutes * 60)
        backlog = self._behind(self._account())
        ask_for(self._control, Troubles())
        began, stored = time.monotonic(), self._account().stored
        self._until(bar, "catching up", lambda account: self._behind(account) < rate)
        caught_up_seconds = time.monotonic() - began
        rows = self._account().stored - stored
        self._wait(bar, "steady again", STEADY_SECONDS)
        account = self._account()
        return {
            "backlog_events": backlog,
            "catch_up_seconds": round(caught_up_seconds, 1),
            "stored_per_second": round(rows / caught_up_seconds),
            "catch_up_ratio": round(rows / caught_up_seconds / rate, 2),
            "visible_p99_ms_before": before,
            "visible_p99_ms_after": self._visibility_ms(),
            "dead_lettered": account.dead_lettered,
            "in_lanes": self._reader.counts().retrying,
        }

    def _visibility_ms(self) -> float | None:
        until_us = time.time_ns() // 1000 - 2_000_000
        return self._reader.visibility(until_us - round(STEADY_SECONDS / 2 * 1e6), until_us).p99_ms

    def _account(self) -> Account:
        return self._accountant.account()

    @staticmethod
    def _behind(account: Account) -> int:
        return account.accepted - account.stored - account.duplicates - account.dead_lettered

    def _wait(self, bar: Progress, what: str, seconds: float) -> None:
        task = bar.add_task(what, total=seconds)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            bar.update(task, completed=seconds - left)
            time.sleep(min(1.0, left))
        bar.update(task, completed=seconds)

    def _until(self, bar: Progress, what: str, done: Callable[[Account], bool]) -> None:
        task, end = bar.add_task(what, total=None), time.monotonic() + GIVE_UP_SECONDS
        while not done(account := self._account()):
            if time.monotonic() > end:
                raise click.ClickException(f"{self._behind(account)} events behind after {GIVE_UP_SECONDS:g} s")
            bar.update(task, description=f"{what}: {self._behind(account):,} behind")
            time.sleep(0.5)


def measure(rate: float, minutes: float) -> dict[str, Any]:
    """On a cell of its own, in a temporary folder."""
    catalogue = load_catalogue()
    with tempfile.TemporaryDirectory(prefix="bems-outage-") as name:
        folder = Path(name)
        control, store = folder / "troubles.json", f"sqlite:///{folder / 'store.sqlite3'}"
        options = CellOptions(folder, roles=("tracker", "sink", "gateway"), store_url=f"faulty:{control}|{store}")

        def make_topics(bootstrap: str) -> None:
            apply_plan(catalogue, KafkaTopicAdmin(bootstrap, 20.0), Patience(20.0))

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Cell(options, make_topics) as cell, Progress(*columns, console=Console(stderr=True)) as bar:
            reader = open_reader(store)
            topics = list(catalogue.stage_topics.values())
            accountant = Accountant(cell.kafka.bootstrap, topics, catalogue.partitions, reader)
            return Outage(cell, control, accountant, reader).run(rate, minutes, bar)


@click.command()
@click.option("--rate", type=float, default=1000.0, show_default=True, help="Events per second.")
@click.option("--minutes", type=float, default=10.0, show_default=True, help="How long the store is away.")
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(rate: float, minutes: float, json_path: Path | None) -> None:
    """Print, and write, what was measured."""
    found = measure(rate, minutes)
    case = {"name": "store outage", "settings": {"rate": rate, "minutes": minutes, "store": "sqlite"}, **found}
    after_ms = found["visible_p99_ms_after"]
    targets = [
        {
            "name": "catch_up_ratio",
            "value": found["catch_up_ratio"],
            "goal": GOAL_CATCH_UP,
            "met": found["catch_up_ratio"] >= GOAL_CATCH_UP,
        },
        {
            "name": "visible_p99_ms_after",
            "value": after_ms,
            "goal": GOAL_P99_MS,
            "met": after_ms is not None and after_ms < GOAL_P99_MS,
        },
    ]
    document = {"figures": [case], "targets": targets}
    Console().print_json(data=document)
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
