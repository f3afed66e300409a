"""`bems dlq export`: dead letters into a file, every byte. Not here: the objects themselves (dlq_json.py)."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from bems_streams.cli.dlq_json import export_object
from bems_streams.cli.dlq_options import desk, filter_options
from bems_streams.cli.dlq_progress import counted
from bems_streams.cli.event_json import encode
from bems_streams.cli.files import replacing
from bems_streams.cli.ledger_options import ledger_options
from bems_streams.flows.dead_letters import Filter


@click.command(name="export")
@filter_options
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@click.option("--format", "form", type=click.Choice(["jsonl"]), default="jsonl", show_default=True)
@ledger_options
def export(
    *,
    asked: Filter,
    out: Path,
    form: str,
    **where: Any,
) -> None:
    """Write dead letters to a file, one JSON object a line, nothing cut.

    `record` has key, value and headers in base64, as they are in the dead-letter topic; the rest is a decoded view. The
    file appears under its name when it is complete.
    """
    written: Counter[str] = Counter()
    with desk(**where) as opened:
        opened.check(asked)
        spans = opened.letters.extents(asked.agent)
        with replacing(out) as file:
            for letter in counted(opened.letters.read(spans), spans):
                if asked.takes(letter):
                    file.write(encode(export_object(letter, opened.settings.cell)) + b"\n")
                    written[letter.agent] += 1
    click.echo(f"{written.total():,} dead letters written to {out}", err=True)
