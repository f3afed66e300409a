"""How a redrive looks in a terminal: the prediction before, prediction and result side by side after.

Not here: dead letters themselves (dlq_screen.py).
"""

from typing import Final

from rich.console import Console
from rich.table import Table

from bems_streams.cli.dlq_json import place_text
from bems_streams.cli.screen import plain
from bems_streams.flows.redrive.audit import Run, Step
from bems_streams.flows.redrive.plan import Plan
from bems_streams.flows.redrive.run import Ending
from bems_streams.flows.redrive.terms import NOT_SENT, SENT, Verdict

MEANING: Final = {
    Verdict.STORED: "handled: stored by the sink, folded by the tracker",
    Verdict.DUPLICATE: "its event is there already: counted, not stored again",
    Verdict.STILL_FAILING: "fails again, and becomes a dead letter again",
    Verdict.ALREADY_HANDLED: "not sent: handled since it died",
    Verdict.GUARDED: "not sent: redriven too often already (--max-redrives)",
    Verdict.UNSENDABLE: "not sent: no agent could tell where it came from",
    Verdict.PENDING: "the agent has not come to it yet",
    Verdict.MISSING: "the agent says it is done, but nothing shows it: run `bems ledger verify`",
}


def print_plan(console: Console, run: Run, plan: Plan, stop_relapse: float) -> None:
    """What would be sent, and what would come of it."""
    counts = plan.counts
    table = _table("dead letters")
    for verdict in (*SENT, *NOT_SENT):
        if counts[verdict] or verdict in SENT:
            table.add_row(verdict.value, f"{counts[verdict]:,}", plain(MEANING[verdict], "dim"))
    console.print(table)
    console.print(plain(f"{plan.to_send:,} to send to the {run.terms.agent}", "bold"))
    if plan.beyond_limit:
        console.print(f"{plan.beyond_limit:,} more are beyond the limit: run it again for them")
    share = counts[Verdict.STILL_FAILING] / plan.to_send if plan.to_send else 0.0
    if share > stop_relapse:
        console.print(
            f"{share:.0%} would fail again: the run will stop at {stop_relapse:.0%}. Narrow it with --code or --stage "
            "to what was mended, or raise --stop-relapse.",
            style="yellow",
        )


def print_ending(console: Console, ending: Ending) -> None:
    """What came of it; every record that did not do what was predicted."""
    run, told = ending.run, ending.told
    if told is not None:
        table = _table("predicted", "result")
        for verdict in Verdict:
            numbers = told.predicted.get(verdict, 0), told.result.get(verdict, 0)
            if any(numbers):
                style = "" if numbers[0] == numbers[1] else "red"
                table.add_row(
                    verdict.value, *(f"{number:,}" for number in numbers), plain(MEANING[verdict], style or "dim")
                )
        console.print(table)
        for one in told.differences:
            what = f"predicted {one.predicted.value}, is {one.result.value}"
            console.print(
                plain(f"{place_text(one.at)}  invoice {one.invoice_id or '-'}: {what}", "red"), soft_wrap=True
            )
    if run.step is Step.FINISHED:
        differ = 0 if told is None else len(told.differences)
        advice = "; `bems dlq show PLACE` shows why" if differ else ""
        console.print(
            plain(f"run {run.name} is finished: {differ:,} records differ from the prediction{advice}", "bold")
        )
        return
    console.print(plain(f"run {run.name} is {run.step.value}: {run.reason}", "bold yellow"))
    console.print(f"bems dlq redrive --resume {run.name} goes on with it")


def _table(*numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("outcome")
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column("")
    return table
