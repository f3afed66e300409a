"""The report of a run of benchmarks as one document, and the words and tables that are made of it.

Not here: the HTML page (page.py), plots (plots.py), the terminal (screen.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from math import isfinite
from typing import Any, Final

from benchmarks.figures import Goal
from benchmarks.gather import Failed, Gathered
from benchmarks.machine import Machine

Document = Mapping[str, Any]

COLUMNS: Final = (
    ("cpu_us_per_event", "CPU µs/event"),
    ("events_per_second", "events/s"),
    ("peak_rss_bytes", "peak MB"),
)
MEGABYTE: Final = 1_000_000


def document(
    outcomes: Sequence[Gathered | Failed], machine: Machine, *, quick: bool, at: datetime, commit: str
) -> dict[str, Any]:
    """Everything that was measured, with what it was measured on. JSON."""
    gathered = [outcome for outcome in outcomes if isinstance(outcome, Gathered)]
    cases = [{"benchmark": each.name, **case} for each in gathered for case in each.cases]
    return {
        "date": at.isoformat(timespec="seconds"),
        "commit": commit,
        "machine": machine.document(),
        "settings": {
            "quick": quick,
            "benchmarks": [outcome.name for outcome in outcomes],
            "seeds": {case["benchmark"]: case["settings"]["seed"] for case in cases if "seed" in case["settings"]},
        },
        "seconds": {outcome.name: round(outcome.seconds, 1) for outcome in outcomes},
        "failed": [asdict(outcome) for outcome in outcomes if isinstance(outcome, Failed)],
        "cases": cases,
        "targets": [{"benchmark": each.name, **target} for each in gathered for target in each.targets],
    }


def number(value: float) -> str:
    """Three digits that count; thousands separated."""
    if not isfinite(value):
        return "not measured"
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or not size else 4
    return f"{value:,.{places}f}"


def verdict(target: Mapping[str, Any]) -> str:
    """Met or missed, and by how much of the goal."""
    word = "met" if target["met"] else "missed"
    value, goal = target["value"], target["goal"]
    if not isfinite(value) or not goal:
        return word
    share = abs(value / goal - 1)
    if share >= 1 and value and target["direction"] == Goal.AT_MOST:
        return f"{word}, {number(value / goal)} times the goal"
    return f"{word} by {100 * share:.0f} %"


def goal(target: Mapping[str, Any]) -> str:
    """≤ 0.5"""
    return f"{'≤' if target['direction'] == Goal.AT_MOST else '≥'} {number(target['goal'])}"


def spread(case: Mapping[str, Any], figure: str) -> str:
    """Median, and the range where there is one; empty when the case has no such figure."""
    found = case.get(figure)
    if found is None or not found["highest"]:
        return ""
    unit = MEGABYTE if figure.endswith("_bytes") else 1
    median, low, high = (number(found[name] / unit) for name in ("median", "lowest", "highest"))
    return median if low == high else f"{median} ({low} - {high})"


def further(case: Mapping[str, Any]) -> str:
    """What a case reports besides rate, CPU and memory."""
    names = case["further"] if "further" in case else case["runs"][0]["extra"]
    return ", ".join(f"{name.replace('_', ' ')} {number(case[name]['median'])}" for name in names)


def by_benchmark(found: Document) -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Cases of each benchmark that has some, in the order in which they ran."""
    for name in found["settings"]["benchmarks"]:
        cases = [case for case in found["cases"] if case["benchmark"] == name]
        if cases:
            yield name, cases


def targets_markdown(targets: Sequence[Mapping[str, Any]]) -> str:
    """The table of targets."""
    lines = ["| target | measured | goal | | what bounds it |", "|---|---|---|---|---|"]
    for target in targets:
        told = f"**{verdict(target)}**" if not target["met"] else verdict(target)
        cells = [target["name"], number(target["value"]), goal(target), told, target["bounded_by"]]
        lines.append(_row(cells))
    return "\n".join(lines)


def cases_markdown(cases: Sequence[Mapping[str, Any]]) -> str:
    """One table: a row per case."""
    headings = ["case", *(heading for _, heading in COLUMNS), "further"]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for case in cases:
        cells = [case["name"], *(spread(case, figure) for figure, _ in COLUMNS), further(case)]
        lines.append(_row(cells))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def markdown(found: Document) -> str:
    """The whole report."""
    machine = found["machine"]
    quick = ", short runs" if found["settings"]["quick"] else ""
    parts = [
        f"{machine['cpus']} CPUs ({machine['model']}), {machine['memory_bytes'] / 1e9:.0f} GB, Python "
        f"{machine['python']}, {found['date']}, commit {found['commit']}{quick}",
        *(f"**{each['name']} failed**: {each['reason']}" for each in found["failed"]),
    ]
    if found["targets"]:
        parts.append(targets_markdown(found["targets"]))
    for name, cases in by_benchmark(found):
        parts += [f"### {name}", cases_markdown(cases)]
    return "\n\n".join(parts) + "\n"
