"""`make bench` runs every benchmark there is, gathers their figures, and names what failed or was missed."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from benchmarks.__main__ import bench_command
from benchmarks.registry import BENCHMARKS, Bars, Benchmark, Curve

FAKE = """
import sys
from pathlib import Path
from benchmarks.figures import Case, Goal, Run, Target, write_report
runs = [Run(1000, 1.0, cpu_seconds, 50_000_000, {{"p99_ms": 12.5}}) for cpu_seconds in (0.02, 0.01, 0.04)]
slow = [Run(1000, 1.0, 0.3)]
cases = [
    Case("ours, 10 open", "work", {{"seed": 7, "open": 10, "quick": "--quick" in sys.argv}}, runs),
    Case("ours, 1000 open", "work", {{"seed": 7, "open": 1000}}, runs),
    Case("peer", "the same work", {{"seed": 7}}, slow),
]
write_report(Path(sys.argv[-1]), cases, [Target("{name} <b>, CPU", 20.0, {goal}, Goal.AT_MOST, "one core & a half")])
"""
FAILING = "import sys; print('the broker did not start'); sys.exit(3)"
MUTE = "print('forgot to write')"
PLOTS = (Bars("CPU", "cpu_us_per_event", "µs"), Curve("over", "cpu_us_per_event", "µs", "open", "open invoices"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of benchmarks that take no time; `python -m` finds it."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (folder / "good.py").write_text(FAKE.format(name="good", goal=40.0))
    (folder / "short.py").write_text(FAKE.format(name="short", goal=16.0))
    (folder / "broken.py").write_text(FAILING)
    (folder / "mute.py").write_text(MUTE)
    return folder


def bench(names: Sequence[str], *options: str) -> Result:
    """Run these fakes."""
    fakes = [Benchmark(name, "what it measures", PLOTS, peers=("peer",), package="fakes") for name in names]
    return CliRunner().invoke(bench_command(fakes), options)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_every_benchmark_takes_the_options_of_make_bench(benchmark: Benchmark) -> None:
    """A renamed option would break `make bench BENCH=--quick` unseen."""
    command = import_module(f"{benchmark.package}.{benchmark.name}").main

    assert isinstance(command, click.Command)
    command.make_context(benchmark.name, ["--quick", "--json", "figures.json"])


def test_figures_of_all_benchmarks_come_in_one_file(package: Path) -> None:
    """Cases with the benchmark that they are from, targets, and what they were measured on and with."""
    path = package / "results" / "bench.json"

    result = bench(["good", "short"], "--quick", "--json", str(path))

    assert result.exit_code == 0, result.output
    found = json.loads(path.read_bytes())
    assert [case["benchmark"] for case in found["cases"]] == ["good"] * 3 + ["short"] * 3
    assert found["cases"][0]["cpu_us_per_event"] == pytest.approx({"median": 20.0, "lowest": 10.0, "highest": 40.0})
    assert found["cases"][0]["settings"]["quick"] is True
    assert [(target["name"], target["met"]) for target in found["targets"]] == [
        ("good <b>, CPU", True),
        ("short <b>, CPU", False),
    ]
    assert found["settings"] == {"quick": True, "benchmarks": ["good", "short"], "seeds": {"good": 7, "short": 7}}
    assert found["machine"]["cpus"] >= 1
    assert "librdkafka" in found["machine"]["libraries"]
    assert found["commit"]
    assert found["date"].endswith("+00:00")


def test_a_missed_target_is_told_with_what_bounds_it_and_is_no_failure(package: Path) -> None:
    """By how much of the goal, and against which."""
    result = bench(["good", "short"], "--json", str(package / "bench.json"))

    assert result.exit_code == 0
    assert "1 of 2 targets are met" in result.output
    rows = {line.split(" <b>")[0]: " ".join(line.split()) for line in result.output.splitlines() if " <b>" in line}
    assert rows["good"] == "good <b>, CPU 20.0 ≤ 40.0 met by 50 % one core & a half"
    assert rows["short"] == "short <b>, CPU 20.0 ≤ 16.0 missed by 25 % one core & a half"


@pytest.mark.parametrize(("name", "why"), [("broken", "ended with 3"), ("mute", "wrote no report that can be read")])
def test_a_benchmark_that_fails_is_named_and_the_others_go_on(package: Path, name: str, why: str) -> None:
    """The run ends with 1; what the others measured is kept, and the message says how to see the failure again."""
    path = package / "bench.json"

    result = bench([name, "good"], "--json", str(path))

    assert result.exit_code == 1
    assert f"{name} {why}" in result.output
    assert f"-m fakes.{name}" in result.output
    found = json.loads(path.read_bytes())
    assert [(failed["name"], failed["reason"].split(":")[0]) for failed in found["failed"]] == [(name, why)]
    assert [case["benchmark"] for case in found["cases"]] == ["good"] * 3


def test_only_the_benchmarks_named_run(package: Path) -> None:
    """`make bench BENCH="good"`."""
    path = package / "bench.json"

    result = bench(["broken", "good"], "good", "--json", str(path))

    assert result.exit_code == 0
    assert json.loads(path.read_bytes())["settings"]["benchmarks"] == ["good"]


def test_the_page_needs_nothing_else_and_shows_every_target_and_plot(package: Path) -> None:
    """One drawing per plot, coloured by the page's theme; text from a benchmark is text."""
    bench(["good", "short"], "--json", str(package / "bench.json"))

    page = (package / "bench.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 * len(PLOTS)
    assert "good &lt;b&gt;, CPU" in page
    assert "one core &amp; a half" in page
    assert "<b>1 of 2</b> targets are met" in page
    assert "var(--blue)" in page
    assert "var(--peer)" in page
    assert "prefers-color-scheme: dark" in page
    assert "<link" not in page
    assert "<script" not in page
    assert {path.name for path in (package / "bench").iterdir()} == {
        f"{name}-{number}.{kind}" for name in ("good", "short") for number in (0, 1) for kind in ("png", "svg")
    }


def test_the_markdown_has_the_same_figures(package: Path) -> None:
    """A table of targets, then a table per benchmark with the spread of its runs."""
    bench(["short"], "--json", str(package / "bench.json"))

    text = (package / "bench.md").read_text(encoding="utf-8")
    assert "| short <b>, CPU | 20.0 | ≤ 16.0 | **missed by 25 %** | one core & a half |" in text
    assert "| ours, 10 open | 20.0 (10.0 - 40.0) | 1,000 | 50.0 | p99 ms 12.5 |" in text
    assert "| peer | 300 | 1,000 |  |  |" in text


def test_help_lists_every_benchmark_with_what_it_measures() -> None:
    """Names are arguments; nobody should have to look into a folder for them."""
    text = CliRunner().invoke(bench_command(BENCHMARKS), ["--help"]).output

    assert all(f"{each.name} " in text and each.measures in text for each in BENCHMARKS)
