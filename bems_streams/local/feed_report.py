"""Shows a feed to people: a progress bar on stderr, refused events in a file, a summary table and its JSON.

Not here: sending (feeder.py), what a command adds to the summary (cli).
"""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bems_streams.local.feed_types import FeedProgress, FeedSummary, Outcome, Refusal, Tag

SHOWN_REASON: Final = 160
SHOWN_EVENT: Final = 80


class FeedReport:
    """Watches one feed. Context manager. `refusals` counts by tag and outcome; the first `shown` are kept for `print`.

    Every refused event goes to `rejects`, one JSON object a line, with its bytes, so that it can be fed again.
    """

    def __init__(self, title: str, *, total: float | None, rejects: Path | None, shown: int) -> None:
        self.refusals: Counter[tuple[Tag, Outcome]] = Counter()
        self._first: list[Refusal] = []
        self._shown = shown
        self._rejects_path = rejects
        self._rejects = rejects.open("w", encoding="utf-8") if rejects else None
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("[yellow]{task.fields[waiting]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(title, total=total, counts="", waiting="")
        self._held = ExitStack()

    def __enter__(self) -> "FeedReport":
        if self._rejects is not None:
            self._held.enter_context(self._rejects)
        self._held.enter_context(self._bar)
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def progressed(self, progress: FeedProgress, completed: float) -> None:
        """Move the bar; `completed` in the unit of `total`."""
        counts = f"{progress.accepted:,} accepted"
        counts += f", {progress.rejected:,} rejected" if progress.rejected else ""
        counts += f", {progress.gave_up:,} given up" if progress.gave_up else ""
        counts += f", {progress.retries:,} retries" if progress.retries else ""
        waiting = escape(progress.waiting or "")
        self._bar.update(self._task, completed=completed, counts=counts, waiting=waiting)

    def refused(self, refusal: Refusal) -> None:
        """Keep and count it."""
        self.refusals[_group(refusal.tag), refusal.outcome] += 1
        if len(self._first) < self._shown:
            self._first.append(refusal)
        if self._rejects is not None:
            self._rejects.write(json.dumps(_document(refusal), ensure_ascii=False) + "\n")

    def print(self, summary: FeedSummary, tables: Sequence[Table], console: Console) -> None:
        """The end of it, for people."""
        console.print(_stages_table(summary))
        for table in tables:
            console.print(table)
        rate = summary.accepted / summary.seconds if summary.seconds else 0.0
        console.print(
            f"{summary.accepted:,} of {summary.offered:,} events accepted in {summary.seconds:.1f} s "
            f"({rate:,.0f}/s), {summary.requests:,} requests, {summary.retries:,} retries"
        )
        if self._first:
            console.print(self._refusals_table(summary))
        if self._rejects_path is not None and (summary.rejected or summary.gave_up):
            console.print(f"all {summary.rejected + summary.gave_up:,} refused events: {self._rejects_path}")

    def _refusals_table(self, summary: FeedSummary) -> Table:
        total = summary.rejected + summary.gave_up
        table = Table("which", "outcome", "why", "event", title=f"first {len(self._first)} of {total:,} refused events")
        for refusal in self._first:
            event = refusal.raw[:SHOWN_EVENT].decode(errors="replace")
            which = f"line {refusal.tag}" if isinstance(refusal.tag, int) else refusal.tag
            table.add_row(which, _words(refusal.outcome), escape(refusal.reason[:SHOWN_REASON]), escape(event))
        return table


def _group(tag: Tag) -> Tag:
    """Line numbers are all different: count them together, or the memory grows with the file."""
    return "line" if isinstance(tag, int) else tag


def _words(outcome: Outcome) -> str:
    return outcome.replace("_", " ")


def _document(refusal: Refusal) -> dict[str, Any]:
    document: dict[str, Any] = {"line" if isinstance(refusal.tag, int) else "kind": refusal.tag}
    document |= {"outcome": refusal.outcome, "stage": refusal.stage}
    document["problems"] = [problem._asdict() for problem in refusal.problems]
    try:
        document["event"] = refusal.raw.decode()
    except UnicodeDecodeError:
        document["event_base64"] = b64encode(refusal.raw).decode()
    return document


def _stages_table(summary: FeedSummary) -> Table:
    table = Table("stage", title="what became of the events")
    for outcome in Outcome:
        table.add_column(_words(outcome), justify="right")
    for stage, counts in summary.stages.items():
        table.add_row(escape(stage), f"{counts.accepted:,}", f"{counts.rejected:,}", f"{counts.gave_up:,}")
    table.add_section()
    table.add_row("all", f"{summary.accepted:,}", f"{summary.rejected:,}", f"{summary.gave_up:,}")
    return table


def write_json(path: Path, summary: FeedSummary, extra: Mapping[str, Any]) -> None:
    """The summary with what the command adds to it."""
    path.write_text(json.dumps({**asdict(summary), **extra}, indent=2) + "\n", encoding="utf-8")
