"""`python -m benchmarks`: runs the benchmarks, each in a process of its own, and gathers their figures.

Not here: any measurement. A benchmark is a module that prints its figures and writes them with --json.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click


class Benchmark(NamedTuple):
    """A module of this package; `quick` are the options for a short run."""

    name: str
    measures: str
    quick: Sequence[str]


BENCHMARKS: Final = (
    Benchmark("domain", "what parsing, folding and encoding an event costs", ("--repeats", "3")),
    Benchmark("gateway", "events a second, latency and CPU of durable acceptance", ("--seconds", "1", "--rounds", "1")),
    Benchmark("visibility", "acceptance to visible row at 1,000 events/s, whole cell", ("--seconds", "5")),
)

LIST: Final = "\b\nBenchmarks:\n" + "\n".join(f"  {each.name:<9} {each.measures}" for each in BENCHMARKS)


def run(benchmark: Benchmark, options: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run one benchmark in the foreground; its `figures` and, where it has goals, `targets`. ClickException."""
    summary = folder / f"{benchmark.name}.json"
    command = [sys.executable, "-m", f"benchmarks.{benchmark.name}", *options, "--json", str(summary)]
    status = subprocess.run(command, check=False).returncode
    if status:
        raise click.ClickException(f"{benchmark.name} ended with {status}: see above, or run  {' '.join(command)}")
    found: dict[str, Any] = json.loads(summary.read_bytes())
    return found


@click.command(epilog=LIST)
@click.argument("names", nargs=-1, type=click.Choice([each.name for each in BENCHMARKS]))
@click.option("--quick", is_flag=True, help="Short runs: shows that all work, measures roughly.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(names: Sequence[str], quick: bool, json_path: Path | None) -> None:
    """Measure this machine: the benchmarks named, or all. Rates depend on the machine and on what else runs on it."""
    cases: list[dict[str, Any]] = []
    targets: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for benchmark in BENCHMARKS:
            if not names or benchmark.name in names:
                click.secho(f"{benchmark.name}: {benchmark.measures}", bold=True)
                found = run(benchmark, benchmark.quick if quick else (), Path(folder))
                cases += [{"benchmark": benchmark.name, **figure} for figure in found["figures"]]
                targets += found.get("targets", [])
    if json_path is not None:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        report = {"machine": machine, "quick": quick, "cases": cases, "targets": targets}
        json_path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
