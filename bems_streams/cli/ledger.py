"""`bems ledger`: what was accepted, and what became of it, by place and minute; `verify` and `watch` prove it.

Not here: the options (ledger_options.py), what the subcommands do (ledger_verify.py, _watch.py, _repair.py).
"""

from pathlib import Path
from typing import Any

import click

from bems_streams.adapters.clock import SystemClock
from bems_streams.cli.ledger_json import reconciliation_json
from bems_streams.cli.ledger_options import MomentType, books, ledger_options, scope_options
from bems_streams.cli.ledger_repair import repair_command
from bems_streams.cli.ledger_screen import print_account, print_totals, print_verdict
from bems_streams.cli.ledger_verify import verify
from bems_streams.cli.ledger_watch import watch
from bems_streams.cli.screen import screen
from bems_streams.flows.ledger.findings import Grouping
from bems_streams.ports import MINUTE_US


@click.group(name="ledger", invoke_without_command=True, short_help="What was accepted, and what became of it; proven.")
@click.option("--since", "since_us", type=MomentType(), help="From this time on, such as 2026-03-02T09:00:00Z.")
@click.option(
    "--minutes", type=click.IntRange(1), default=15, show_default=True, help="The last so many, without --since."
)
@click.option("--by", type=click.Choice([grouping.value for grouping in Grouping]), default="minute", show_default=True)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the lines here too.")
@scope_options
@ledger_options
@click.pass_context
def command(
    context: click.Context, /, *, since_us: int | None, minutes: int, by: str, json_path: Path | None, **where: Any
) -> None:
    """Show per topic, partition and minute: accepted, stored, duplicate, dead-lettered, in retry, missing.

    Rows are recounted, never taken from the ledger's own word. `bems ledger verify` looks at everything there is and
    tells by its exit code whether the ledger is closed.
    """
    if context.invoked_subcommand is not None:
        return
    if since_us is None:
        since_us = SystemClock().now_us() - (minutes - 1) * MINUTE_US
    console = screen()
    with books(**where) as opened:
        opened.require_store()
        result = opened.reconciler.verify(since_us, by=Grouping(by))
        print_account(console, result)
        print_totals(console, result)
        print_verdict(console, result, opened.settings.cell)
        if json_path is not None:
            json_path.write_bytes(reconciliation_json(result, opened.settings.cell))


command.add_command(verify)
command.add_command(watch)
command.add_command(repair_command)
