"""The ledger as people read it: lines with a total, control totals, and everything that is wrong by name.

Not here: JSON (ledger_json.py), the verification itself (flows/reconcile.py).
"""

from dataclasses import asdict, fields
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bems_streams.cli.screen import plain, time_text
from bems_streams.domain.views import duration_text
from bems_streams.flows.ledger.findings import Finding, Kind, Line, LineKey, Reconciliation

NUMBERS: Final = tuple(field.name for field in fields(Line))
ADVICE: Final = {
    Kind.MISSING: "the log holds what is named with its ids: keep this list (--json), then docs/runbooks/ledger-gap.md",
    Kind.OVERDUE: "not lost: see whether the agent runs and why it waits (/readyz, bems_agent_paused), then look again",
    Kind.UNRECORDED: "the agent's account is incomplete: docs/runbooks/ledger-gap.md",
    Kind.MISCOUNTED: "somebody, or a defect, changed rows or ledger: docs/runbooks/ledger-gap.md",
    Kind.CHANGED: "an amount is not the accepted one: the log has the original; docs/runbooks/ledger-gap.md",
    Kind.LOG_LOST: "stop sending to this cell and ask who runs the brokers; the rows are what is left of these events",
}


def print_account(console: Console, result: Reconciliation) -> None:
    """Lines by agent and place, then all of an agent together."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("agent", "topic", "partition", "minute"):
        table.add_column(heading, overflow="fold")
    for heading in NUMBERS:
        table.add_column(heading.replace("_", "-"), justify="right")
    order = sorted(result.lines, key=lambda key: (key.agent, key.topic, key.partition or 0, key.minute_us or 0))
    for agent in sorted({key.agent for key in order}):
        total = Line()
        for key in (key for key in order if key.agent == agent):
            line = result.lines[key]
            table.add_row(*_place(key), *_numbers(line))
            for name in NUMBERS:
                setattr(total, name, getattr(total, name) + getattr(line, name))
        table.add_section()
        table.add_row(Text(agent, "bold"), Text("all", "bold"), "", "", *_numbers(total))
        table.add_section()
    if result.lines:
        console.print(table)
    else:
        console.print("the ledger has no entries for this time")


def _place(key: LineKey) -> tuple[str | Text, ...]:
    partition = "" if key.partition is None else str(key.partition)
    minute = "" if key.minute_us is None else time_text(key.minute_us)
    return key.agent, plain(key.topic), partition, minute


def _numbers(line: Line) -> list[Text]:
    return [
        Text(f"{number:,}", "bold red" if name == "missing" and number else "" if number else "dim")
        for name, number in asdict(line).items()
    ]


def print_totals(console: Console, result: Reconciliation) -> None:
    """Amounts per currency: accepted, stored, and whether they are the same to the cent."""
    for total in result.totals:
        log = "" if total.in_log is None else f"  in the log {total.in_log:,f}"
        verdict = Text("equal") if total.closed else Text(f"differs by {total.accepted - total.stored:,f}", "bold red")
        console.print(
            plain(f"{total.currency}  accepted {total.accepted:,f}  accounted for {total.stored:,f}{log} "), verdict
        )


def print_verdict(console: Console, result: Reconciliation, cell: str) -> None:
    """Everything that is wrong, what to do about it, and one last line that says it all."""
    for found in result.findings:
        console.print(finding_text(found, cell, result.verified_us))
    listed = sum(found.records for found in result.findings)
    counted = sum(result.counts.values())
    if listed < counted:
        console.print(f"… and {counted - listed:,} more: look at less at a time with --since and --topic")
    for kind, advice in ADVICE.items():
        if result.count(kind):
            console.print(Text(f"{kind.value}: {advice}", "yellow"))
    for agent, waiting in sorted(result.pending.items()):
        if waiting:
            console.print(f"{agent}: {waiting:,} accepted records are not handled yet")
    if result.unsettled:
        console.print(f"{result.unsettled:,} ledger entries changed while they were looked at: look again")
    if result.unprovable:
        console.print(
            f"{result.unprovable:,} offsets without an entry are older than the log: nobody can tell any more"
        )
    console.print(verdict_text(result))


def finding_text(found: Finding, cell: str, now_us: int) -> Text:
    """One line: kind, agent, receipt, event, age, reason."""
    text = Text.assemble((found.kind.value, "bold red"), f" {found.agent} ", plain(found.receipt(cell), "bold"))
    if found.event_id is not None:
        text.append_text(plain(f" event {found.event_id} of invoice {found.invoice_id}"))
    if found.accepted_us is not None:
        text.append(f", accepted {duration_text(max(0, now_us - found.accepted_us))} ago")
    return text.append_text(plain(f": {found.detail}"))


def verdict_text(result: Reconciliation) -> Text:
    """Closed, or how much is wrong."""
    if result.closed:
        return Text("closed: every accepted event is accounted for", "green")
    wrong = ", ".join(f"{count:,} {kind.value}" for kind in Kind if (count := result.count(kind)))
    return Text(f"NOT CLOSED: {wrong or 'a control total differs'}", "bold red")
