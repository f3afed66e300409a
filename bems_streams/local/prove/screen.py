"""What a proof shows on the terminal: a line per fault, beneath them how the cell stands, and the verdict.

Not here: the report (proof.py, page.py).
"""

from collections.abc import Callable
from typing import Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from bems_streams.local.prove.entry import Entry
from bems_streams.local.prove.guarantees import GUARANTEES
from bems_streams.local.prove.proof import Proof
from bems_streams.local.prove.samples import Sample

SHOWN: Final = 30  # findings on the terminal; the report has all that are named


class Screen:
    """Lines that stay, and a picture that changes: on a terminal only."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._seconds = seconds
        self._doing = ""
        self._latest: Callable[[], Sample] = Sample
        self._entries: Callable[[], list[Entry]] = list
        self._live = Live(get_renderable=self._picture, refresh_per_second=2, console=console, transient=True)

    def show(self, latest: Callable[[], Sample], entries: Callable[[], list[Entry]]) -> Live:
        """A context in which the picture follows these."""
        self._latest, self._entries = latest, entries
        return self._live

    def line(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, soft_wrap=True)

    def doing(self, text: str) -> None:
        """What is going on; where there is no picture, one line for each new activity."""
        activity = text.partition(":")[0]
        if activity != self._doing.partition(":")[0] and not self._console.is_terminal:
            self.line(f"[dim]{activity}[/]")
        self._doing = text

    def began(self, entry: Entry) -> None:
        """A fault begins."""
        planned = entry.planned
        target = f" [bold]{planned.target}[/]" if planned.target else ""
        self.line(f"{entry.started_seconds:7.1f} s  [yellow]{planned.kind.name}[/]{target}: {planned.kind.what}")

    def ended(self, entry: Entry) -> None:
        """A fault is over, one way or the other."""
        if entry.survived_seconds is not None:
            took = entry.survived_seconds - entry.started_seconds
            self.line(f"{entry.survived_seconds:7.1f} s  [green]survived[/] {entry.planned.kind.name} in {took:.1f} s")
        else:
            self.line(f"[red]NOT SURVIVED[/] {entry.planned.kind.name}: {entry.missing}")

    def _picture(self) -> RenderableType:
        sample, entries = self._latest(), list(self._entries())
        now = [entry.planned for entry in entries if entry.ended_seconds is None]
        under_way = ", ".join(f"{planned.kind.name} {planned.target}".strip() for planned in now)
        survived = sum(entry.survived for entry in entries)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            ProgressBar(total=self._seconds, completed=min(sample.seconds, self._seconds), width=40),
            f"{sample.seconds:,.0f} of {self._seconds:,.0f} s",
        )
        grid.add_row("now", f"[yellow]{under_way}[/]" if under_way else self._doing or "calm")
        grid.add_row("faults survived", f"{survived} of {len(entries)}")
        grid.add_row("accepted", f"{sample.accepted:,}")
        grid.add_row("without an outcome yet", f"{sample.lag:,}")
        grid.add_row("waiting in lanes", f"{sample.retrying:,}")
        grid.add_row("visible after (99 %)", "-" if sample.p99_ms is None else f"{sample.p99_ms:,.0f} ms")
        return grid


def verdict_table(proof: Proof) -> Table:
    """Promise by promise, and every finding by name."""
    totals, broken = proof.verdict.totals, proof.broken
    head = "every promise was kept" if proof.closed else "NOT CLOSED"
    table = Table(
        "",
        "promise",
        "attacked by",
        "verdict",
        title=f"{head}: {totals.accepted:,} events, "
        f"{totals.missing:,} missing, {proof.survived} of {len(proof.entries)} faults survived",
    )
    for name, promise in GUARANTEES.items():
        attacks = len(proof.attacks(name))
        count = broken.get(name, 0)
        table.add_row(
            name, promise, f"{attacks} faults", f"[red]broken {count:,} times[/]" if count else "[green]kept[/]"
        )
    for found in proof.findings[:SHOWN]:
        which = " ".join(part for part in (found.receipt, found.event_id, found.invoice_id) if part)
        table.add_row(found.guarantee, f"[red]{found.what}[/]", which, "")
    return table
