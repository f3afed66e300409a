"""`python -m benchmarks`: runs the benchmarks, and writes what they found as JSON, page, Markdown table and plots.

Not here: any measurement. A benchmark is a module that prints its figures and writes them with --json.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from benchmarks import report
from benchmarks.gather import Failed, Gathered, run
from benchmarks.machine import read_machine
from benchmarks.page import page
from benchmarks.plots import drawings, save, themed
from benchmarks.registry import BENCHMARKS, Benchmark
from benchmarks.screen import print_progress, print_report

DEFAULT_JSON: Final = Path("bench-results/bench.json")
JSON_HELP: Final = "Write all figures here; beside it the same as .html and .md, and a folder with the plots."


def bench_command(benchmarks: Sequence[Benchmark]) -> click.Command:
    """The command line for these benchmarks."""
    width = max(len(each.name) for each in benchmarks)
    listed = "".join(f"\n  {each.name:<{width}} {each.measures}" for each in benchmarks)

    @click.command(epilog=f"\b\nBenchmarks:{listed}")
    @click.argument("names", nargs=-1, type=click.Choice([each.name for each in benchmarks]), metavar="[BENCHMARK]...")
    @click.option("--quick", is_flag=True, help="Short runs: shows that all work, measures roughly.")
    @click.option("--json", "path", type=click.Path(path_type=Path), default=DEFAULT_JSON, help=JSON_HELP)
    def main(names: Sequence[str], quick: bool, path: Path) -> None:
        """Measure this machine: the benchmarks named, or all.

        Exits with 1 when a benchmark fails; a target that is missed is told, and is no failure.
        """
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        chosen = [each for each in benchmarks if not names or each.name in names]
        found = run_all(chosen, quick, path, console)
        print_report(console, found)
        console.print(f"\n{path}  {path.with_suffix('.html')}  {path.with_suffix('.md')}", soft_wrap=True)
        sys.exit(1 if found["failed"] else 0)

    return main


def run_all(benchmarks: Sequence[Benchmark], quick: bool, path: Path, console: Console) -> dict[str, Any]:
    """Run them in turn. The figures are written after each: what was measured in an hour survives a Ctrl-C."""
    machine, began, at, found = read_machine(), time.monotonic(), datetime.now(UTC), {}
    if warning := machine.warning():
        console.print(warning, style="yellow")
    outcomes: list[Gathered | Failed] = []
    with tempfile.TemporaryDirectory() as folder:
        for place, benchmark in enumerate(benchmarks):
            print_progress(console, benchmark, place, len(benchmarks), time.monotonic() - began)
            outcomes.append(run(benchmark, quick, Path(folder)))
            found = report.document(outcomes, machine, quick=quick, at=at, commit=commit())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    show(found, benchmarks, path)
    return found


def show(found: report.Document, benchmarks: Sequence[Benchmark], path: Path) -> None:
    """Page, Markdown and plots, beside the figures and under their name."""
    path.with_suffix(".md").write_text(report.markdown(found), encoding="utf-8")
    folder = path.with_suffix("")
    pictures: dict[str, list[str]] = {}
    cases = dict(report.by_benchmark(found))
    for benchmark in benchmarks:
        for number, figure in enumerate(drawings(benchmark, cases.get(benchmark.name, ()))):
            folder.mkdir(exist_ok=True)
            save(figure, folder / f"{benchmark.name}-{number}")
            pictures.setdefault(benchmark.name, []).append(themed(figure))
    measures = {each.name: each.measures for each in benchmarks}
    path.with_suffix(".html").write_text(page(found, pictures, measures), encoding="utf-8")


def commit() -> str:
    """What was measured, by git: the commit, with a + when files differ from it; `unknown` outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=10", "--dirty=+"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return described.stdout.strip() or "unknown"


if __name__ == "__main__":
    bench_command(BENCHMARKS)(prog_name="python -m benchmarks")
