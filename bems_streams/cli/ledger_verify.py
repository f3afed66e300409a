"""`bems ledger verify`: whether every accepted event is accounted for; if not, which ones are missing.

Not here: the verification itself (flows/reconcile.py).
"""

import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from bems_streams.cli.ledger_json import reconciliation_json
from bems_streams.cli.ledger_options import MomentType, books, ledger_options, scope_options
from bems_streams.cli.ledger_screen import print_account, print_totals, print_verdict
from bems_streams.cli.screen import screen
from bems_streams.flows.ledger.findings import Grouping, Reconciliation
from bems_streams.flows.reconcile import Look, Reconciler

LOOK_AGAIN_SECONDS: Final = 1.0


@click.command(name="verify", short_help="Compare broker, ledger and store; name what is missing.")
@click.option(
    "--deep",
    "look",
    flag_value=Look.DEEP.value,
    default=Look.SUSPICIOUS.value,
    help="Read every record of the log, and compare each with its row.",
)
@click.option("--since", "since_us", type=MomentType(), default=0, help="What was accepted from this time on. [all]")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Seconds to wait until all that was accepted is handled.",
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all of it here too.")
@scope_options
@ledger_options
def verify(*, look: str, since_us: int, wait_seconds: float, json_path: Path | None, **where: Any) -> None:
    """Compare broker, ledger and store. Exit code 0: closed. 1: not closed, and every missing event is named by receipt
    and event id. 2: broker or store cannot be read.

    It may run at any time, beside everything else; what is handled meanwhile is no gap.
    """
    console = screen()
    with books(**where) as opened:
        opened.require_store()
        result = _settled(opened.reconciler, since_us, Look(look), wait_seconds)
        print_account(console, result)
        print_totals(console, result)
        print_verdict(console, result, opened.settings.cell)
        if json_path is not None:
            json_path.write_bytes(reconciliation_json(result, opened.settings.cell))
    if not result.closed:
        sys.exit(1)


def _settled(reconciler: Reconciler, since_us: int, look: Look, wait_seconds: float) -> Reconciliation:
    """The first look after which nothing waits any more, else the last one within the time."""
    end = time.monotonic() + wait_seconds
    while True:
        result = reconciler.verify(since_us, look=look, by=Grouping.TOPIC)
        if not result.waiting or time.monotonic() + LOOK_AGAIN_SECONDS > end:
            return result
        time.sleep(LOOK_AGAIN_SECONDS)
