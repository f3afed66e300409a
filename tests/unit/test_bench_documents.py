"""Documents say what was measured: generated blocks are what commands print, reports merge by benchmark."""

import json
import subprocess
from typing import Any

import pytest

from benchmarks.blocks import output_of, rewritten
from benchmarks.publish import DOCS, LATEST, PAGES, cases_table, merged, page_of, targets_table
from benchmarks.registry import BENCHMARKS

SPREAD = {"median": 1.23456, "lowest": 1.0, "highest": 2.0}


def report(name: str, value: float) -> dict[str, Any]:
    """Of one benchmark with one case and one target."""
    case = {
        "benchmark": name, "name": "ours", "measures": "work", "settings": {},
        "runs": [{"extra": {"p99_ms": 1}}],
        "cpu_us_per_event": SPREAD, "events_per_second": SPREAD, "peak_rss_bytes": SPREAD, "p99_ms": SPREAD,
    }  # fmt: skip
    target = {
        "benchmark": name, "name": f"{name} target", "value": value, "goal": 2.0, "direction": "at most",
        "bounded_by": "Python", "met": value <= 2.0,
    }  # fmt: skip
    machine = {"cpus": 2, "model": "Fast One", "python": "3.11.7", "load_average": 0.34}
    settings = {"quick": False, "benchmarks": [name]}
    return {
        "date": "2026-11-23T20:00:00+00:00", "commit": "abc", "machine": machine, "settings": settings,
        "cases": [case], "targets": [target],
    }  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_was_measured_and_what_commands_print(name: str) -> None:
    """`python -m benchmarks.publish` writes it anew."""
    latest = json.loads(LATEST.read_text(encoding="utf-8"))

    assert (DOCS / name).read_text(encoding="utf-8") == page_of(name, latest)


def test_every_benchmark_with_a_page_is_still_there() -> None:
    """What nobody measures any more is not shown as if it were."""
    assert set(json.loads(LATEST.read_text(encoding="utf-8"))) <= {each.name for each in BENCHMARKS}


def test_a_report_replaces_its_own_benchmarks_only() -> None:
    """The others keep their newest run; runs are left out, and figures have four digits."""
    first, second = BENCHMARKS[0].name, BENCHMARKS[1].name

    latest = merged(merged(merged({}, report(second, 1.0)), report(first, 1.5)), report(second, 3.0))

    assert list(latest) == [first, second]
    assert latest[first]["targets"][0]["met"] is True
    assert latest[second]["targets"][0]["met"] is False
    assert latest[first]["cases"][0]["cpu_us_per_event"]["median"] == 1.235
    assert "runs" not in latest[first]["cases"][0]
    assert targets_table(latest).startswith("1 of 2 targets are met.")
    assert f"| {second} target | 3.00 | ≤ 2.00 | **missed by 50 %** | Python |" in targets_table(latest)


def test_a_table_of_cases_says_when_and_on_what() -> None:
    """And how busy the machine was."""
    name = BENCHMARKS[0].name

    lines = cases_table(merged({}, report(name, 1.0)), name).splitlines()

    assert lines[0] == "2026-11-23, 2 CPUs of Fast One, Python 3.11.7, load 0.3 before, commit abc."
    assert lines[-1] == "| ours | 1.24 (1.00 - 2.00) | 1.24 (1.00 - 2.00) | 0.0000 | p99 ms 1.24 |"


def test_a_block_is_made_from_the_words_of_its_comment_and_the_rest_stays() -> None:
    """Twice gives the same."""
    page = "a\n<!-- generated: x 'y z' -->\nold\n<!-- end of generated -->\nb\n"

    once = rewritten(page, "|".join)

    assert once == "a\n<!-- generated: x 'y z' -->\n\nx|y z\n\n<!-- end of generated -->\nb\n"
    assert rewritten(once, "|".join) == once


def test_a_command_that_fails_makes_no_block() -> None:
    """A page must not quietly lose a table."""
    with pytest.raises(subprocess.CalledProcessError):
        output_of(["bems", "capacity", "--rate", "no"])
