"""The one-machine cell from start to end: run it, feed it, wait until everything accepted is accounted for.

Not here: options and the parts it is built from (cli/demo.py), the processes (cell.py).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bems_streams.local.account import Account, Accountant
from bems_streams.local.cell import Cell
from bems_streams.local.visibility import Seen, VisibilityProbe
from bems_streams.ports import LogUnavailableError

LOOK_SECONDS: Final = 0.2
STALL_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a run ends with. `fed`: the feeder's own summary."""

    account: Account
    seen: Seen
    before: Account
    feed_seconds: float
    fed: dict[str, Any]

    @property
    def events_per_second(self) -> float:
        """Accepted in this run, over the time that feeding took."""
        new = self.account.accepted - self.before.accepted
        return new / self.feed_seconds if self.feed_seconds else 0.0

    def document(self) -> dict[str, Any]:
        """For machines. Totals are those of the cell since it exists; `run` has this run's share."""
        account = self.account
        run = {
            name: getattr(account, name) - getattr(self.before, name)
            for name in ("accepted", "stored", "duplicates", "dead_lettered", "retrying")
        }
        return {
            **{name: value for name, value in asdict(account).items() if name != "tracked"},
            "visible_p50_ms": self.seen.p50_ms,
            "visible_p99_ms": self.seen.p99_ms,
            "events_per_second": round(self.events_per_second, 1),
            "closed": account.closed,
            "run": {**run, "seconds": round(self.feed_seconds, 3), "fed": self.fed},
        }

    def table(self) -> Table:
        """For people."""
        table = Table("", "cell", "this run", title="every accepted event, accounted for")
        for column in table.columns[1:]:
            column.justify = "right"
        for name in ("accepted", "stored", "duplicates", "dead_lettered", "retrying"):
            total, before = getattr(self.account, name), getattr(self.before, name)
            table.add_row(name.replace("_", "-"), f"{total:,}", f"{total - before:,}")
        table.add_section()
        table.add_row("invoices", f"{self.account.invoices:,}", "")
        table.add_row("stuck now", f"{self.account.stuck:,}", "")
        table.add_row("visible after, median", "", _milliseconds(self.seen.p50_ms))
        table.add_row("visible after, 99 %", "", _milliseconds(self.seen.p99_ms))
        table.add_row("events per second", "", f"{self.events_per_second:,.0f}")
        table.add_row("ledger", "closed" if self.account.closed else "[red]NOT CLOSED[/]", "")
        return table


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def feed_once(cell: Cell, arguments: Sequence[str], probe: VisibilityProbe, accountant: Accountant) -> Report:
    """Run `bems <arguments>` against the cell's gateway in the foreground, then wait until all is accounted for."""
    before = accountant.account()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "fed.json"
        command = [sys.executable, "-m", "bems_streams", *arguments, "--url", cell.addresses.gateway]
        subprocess.run([*command, "--json", str(summary)], env={**os.environ, **cell.spec("gateway").env}, check=False)
        feed_seconds = time.monotonic() - began
        fed = json.loads(summary.read_bytes()) if summary.exists() else {}
    account = await_settled(accountant, before)
    return Report(account, probe.seen(), before, feed_seconds, fed)


def await_settled(accountant: Accountant, before: Account) -> Account:
    """Watch the ledger close, with a progress bar. Returns the last look, closed or not, when nothing moves."""
    bar = Progress(
        TextColumn("accounting for every event"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    account, moved = before, time.monotonic()
    with bar:
        task = bar.add_task("", total=max(1, before.accepted))
        while True:
            latest = _look(accountant) or account
            if latest != account:
                account, moved = latest, time.monotonic()
            done = account.stored + account.duplicates + account.dead_lettered + account.retrying
            bar.update(task, completed=done, total=account.accepted)
            if account.settled or time.monotonic() - moved > STALL_SECONDS:
                return account
            time.sleep(LOOK_SECONDS)


def _look(accountant: Accountant) -> Account | None:
    try:
        return accountant.account()
    except LogUnavailableError:
        return None  # the broker is away, as it may be: look again
