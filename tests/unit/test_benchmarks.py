"""`make bench` runs every benchmark there is and gathers their figures in one file."""

import json
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import BENCHMARKS, Benchmark, main

FIGURES = 6


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_a_short_run_of_a_benchmark_takes_the_options_that_it_is_given(benchmark: Benchmark) -> None:
    """A renamed option would break `make bench BENCH=--quick` unseen."""
    command = import_module(f"benchmarks.{benchmark.name}").main

    assert isinstance(command, click.Command)
    command.make_context(benchmark.name, [*benchmark.quick, "--json", "figures.json"])


def test_figures_of_all_benchmarks_come_in_one_file(tmp_path: Path) -> None:
    """One case per figure, each with the benchmark that it is from, and the machine that they were measured on."""
    report = tmp_path / "report.json"

    result = CliRunner().invoke(main, ["domain", "--quick", "--json", str(report)])

    assert result.exit_code == 0, result.output
    document = json.loads(report.read_bytes())
    assert document["quick"] is True
    assert document["machine"]["cpus"] >= 1
    assert [case["benchmark"] for case in document["cases"]] == ["domain"] * FIGURES
    assert all(0 < case["best_us"] <= case["median_us"] for case in document["cases"])


def test_a_benchmark_that_fails_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is written that lacks figures, and the message says how to run the one that failed."""
    broken = BENCHMARKS[0]._replace(quick=("--repeats", "0"))
    monkeypatch.setattr("benchmarks.__main__.BENCHMARKS", (broken,))
    report = tmp_path / "report.json"

    result = CliRunner().invoke(main, ["--quick", "--json", str(report)])

    assert result.exit_code == 1
    assert "domain ended with 2: see above, or run" in result.output
    assert not report.exists()
