"""`bems dlq`: dead letters. `list` is here; show, export, redrive and runs have files of their own.

Not here: options (dlq_options.py), tables (dlq_screen.py).
"""

from typing import Any

import click

from bems_streams.cli.dlq_export import export
from bems_streams.cli.dlq_json import letter_object
from bems_streams.cli.dlq_options import desk, filter_options
from bems_streams.cli.dlq_progress import counted
from bems_streams.cli.dlq_redrive import redrive
from bems_streams.cli.dlq_runs import runs
from bems_streams.cli.dlq_screen import print_overview
from bems_streams.cli.dlq_show import show
from bems_streams.cli.event_json import encode
from bems_streams.cli.ledger_options import ledger_options
from bems_streams.cli.screen import screen
from bems_streams.flows.dead_letters import Filter, Letter, Since, overview


@click.group(name="dlq", short_help="Dead letters: list, show, export, send again.")
def command() -> None:
    """Look at dead letters, and send them again once what was wrong is mended.

    Exit code 0: done. 1: what was asked for is not there, or did not come true. 2: broker, store or catalogue could not
    be read.
    """


@command.command(name="list")
@filter_options
@click.option("--open", "only_open", is_flag=True, help="Only those that were not handled since, as the store knows.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Show so many of the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: counts, and the newest.")
@ledger_options
def list_letters(
    *,
    asked: Filter,
    only_open: bool,
    limit: int,
    as_json: bool,
    **where: Any,
) -> None:
    """Count dead letters by agent, stage and code, and list the newest.

    Counted are dead letters: a record that was redriven and died again has two. --open leaves out records that their
    agent has handled since.
    """
    with desk(**where) as opened:
        opened.check(asked)
        if only_open:
            opened.require_store()
        since = Since(opened.reader)

        def keep(letter: Letter) -> bool:
            return asked.takes(letter) and not (only_open and since.handled(letter))

        spans = opened.letters.extents(asked.agent)
        found = overview(counted(opened.letters.read(spans), spans), limit, keep)
        cell = opened.settings.cell
    if as_json:
        counts = [
            {"agent": by, "stage": of, "code": why, "dead_letters": number}
            for (by, of, why), number in sorted(found.counts.items(), key=str)
        ]
        newest = [letter_object(letter, cell) for letter in found.newest]
        click.echo(encode({"dead_letters": found.total, "counts": counts, "newest": newest}))
    elif found.total:
        print_overview(screen(), found)
    else:
        click.echo("no dead letters" if asked == Filter() and not only_open else "no dead letters of that kind")


for further in (show, export, redrive, runs):
    command.add_command(further)
