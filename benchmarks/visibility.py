"""How soon a query returns an event: acceptance to visible row, through the whole one-machine cell.

Every event is timed, by a reader that polls the store (an upper bound). Run `python -m benchmarks.visibility
[--rate 1000] [--seconds 30] [--json FILE]`. Not here: the cell (bems_streams/local).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

GOAL_P99_MS: Final = 2000.0


def measure(rate: float, seconds: float) -> dict[str, Any]:
    """Run the demo with made-up events at `rate` and return its summary."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        events = str(int(rate * seconds))
        command = [sys.executable, "-m", "bems_streams", "demo", "--events", events, "--rate", str(rate), "--seed", "1"]
        done = subprocess.run(
            [*command, "--exit", "--json", str(summary)], capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode != 0:
            raise click.ClickException(f"the demo did not end well:\n{done.stderr[-2000:]}")
        document: dict[str, Any] = json.loads(summary.read_bytes())
        return document


@click.command()
@click.option("--rate", type=float, default=1000.0, show_default=True, help="Events per second.")
@click.option("--seconds", type=float, default=30.0, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
def main(rate: float, seconds: float, json_path: Path | None) -> None:
    """Print, and write, what was measured."""
    found = measure(rate, seconds)
    case = {
        "name": "visibility",
        "settings": {"rate": rate, "seconds": seconds, "brokers": 1, "store": "sqlite"},
        **{
            name: found[name]
            for name in ("visible_p50_ms", "visible_p99_ms", "events_per_second", "accepted", "closed")
        },
    }
    p99_ms = found["visible_p99_ms"]
    target = {"name": "visible_p99_ms", "value": p99_ms, "goal": GOAL_P99_MS, "met": p99_ms < GOAL_P99_MS}
    table = Table("events/s", "median", "99 %", "ledger", title="acceptance to visible row")
    closed = "closed" if found["closed"] else "NOT CLOSED"
    table.add_row(
        f"{found['events_per_second']:,.0f}", f"{found['visible_p50_ms']:,.0f} ms", f"{p99_ms:,.0f} ms", closed
    )
    Console().print(table)
    if json_path is not None:
        json_path.write_text(json.dumps({"figures": [case], "targets": [target]}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
