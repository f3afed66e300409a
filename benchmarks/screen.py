"""What a run of benchmarks prints besides the benchmarks themselves: how far it is, and the targets at its end.

Not here: words for figures (report.py).
"""

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmarks import report
from benchmarks.registry import Benchmark
from benchmarks.report import COLUMNS, Document

BAR_WIDTH = 40


def print_progress(console: Console, benchmark: Benchmark, place: int, total: int, seconds: float) -> None:
    """Between two benchmarks: each then has the screen for itself, for a bar of its own."""
    line = Table.grid(padding=(0, 2))
    line.add_row(
        ProgressBar(total, place, width=BAR_WIDTH),
        f"{place + 1} of {total}",
        f"{seconds / 60:.0f} min",
        Text(f"{benchmark.name}: {benchmark.measures}", "bold"),
    )
    console.print()
    console.print(line)


def print_report(console: Console, found: Document) -> None:
    """Cases of each benchmark, peers beside us; then targets; then what failed."""
    for name, cases in report.by_benchmark(found):
        table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False)
        table.add_column("case")
        for _, heading in COLUMNS:
            table.add_column(heading, justify="right")
        for case in cases:
            table.add_row(case["name"], *(report.spread(case, figure) for figure, _ in COLUMNS))
        console.print(Group("", table))
    if found["targets"]:
        console.print(Group("", _targets(found)))
    for failed in found["failed"]:
        told = f"{failed['name']} {failed['reason']}: see above, or run  {' '.join(failed['command'])}"
        console.print(Text(told, "red"), soft_wrap=True)


def _targets(found: Document) -> Table:
    met = sum(target["met"] for target in found["targets"])
    title = f"{met} of {len(found['targets'])} targets are met"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("target", "measured", "goal", "", "what bounds it"):
        table.add_column(heading, justify="right" if heading in ("measured", "goal") else "left", overflow="fold")
    for target in found["targets"]:
        told = Text(report.verdict(target), "green" if target["met"] else "bold red")
        table.add_row(target["name"], report.number(target["value"]), report.goal(target), told, target["bounded_by"])
    return table
