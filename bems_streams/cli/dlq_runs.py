"""`bems dlq runs`: every redrive, and how it stands. Not here: what is written down of one (flows/redrive/audit.py)."""

from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.table import Table

from bems_streams.cli.dlq_options import desk
from bems_streams.cli.event_json import encode
from bems_streams.cli.ledger_options import ledger_options
from bems_streams.cli.screen import plain, screen, time_text
from bems_streams.domain.event import instant
from bems_streams.flows.redrive.audit import Audit, Run, Step, read_audit, typed


@click.command(name="runs")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
@ledger_options
def runs(*, as_json: bool, **where: Any) -> None:
    """List redrives, oldest first: who, which dead letters, what was predicted, what came of it, how it stands.

    A run that is not finished goes on with `bems dlq redrive --resume RUN`.
    """
    with desk(**where) as opened:
        audit = read_audit(opened.log, opened.catalogue)
    if as_json:
        for run in audit.runs.values():
            click.echo(encode(_object(run)))
        return
    if audit.runs:
        screen().print(_table(audit.runs.values()))
    else:
        click.echo("no redrive was ever run here")
    _advise(audit)


def _advise(audit: Audit) -> None:
    unfinished = [run.name for run in audit.runs.values() if run.step is not Step.FINISHED]
    if unfinished:
        click.echo(f"\nnot finished: {', '.join(unfinished)}; go on with `bems dlq redrive --resume RUN`")
    if audit.unreadable:
        click.echo(f"\n{audit.unreadable} records of the audit topic are no audit entries; who else writes there?")


def _table(found: Iterable[Run]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("run", "who", "agent", "which", "predicted", "result", "how it stands", "as of"):
        table.add_column(heading, overflow="fold")
    for run in found:
        reason = f"{run.step.value}: {run.reason}" if run.reason else run.step.value
        table.add_row(
            plain(run.name),
            plain(run.who),
            plain(run.terms.agent),
            plain(_words(typed(run.terms))),
            plain(_words(run.prediction)),
            plain(_words(run.result)),
            plain(reason),
            time_text(run.at_us),
        )
    return table


def _words(values: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in values.items()
    )


def _object(run: Run) -> dict[str, Any]:
    return {
        "run": run.name,
        "who": run.who,
        "agent": run.terms.agent,
        "filter": typed(run.terms),
        "step": run.step.value,
        "at": instant(run.at_us),
        "reason": run.reason,
        "prediction": run.prediction,
        "result": run.result,
    }
