"""Runs benchmarks, each in a process of its own, and reads what they report. One that fails does not stop the others.

Not here: which there are (registry.py), what becomes of the figures (report.py).
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.registry import Benchmark

LIMIT_SECONDS: Final = 7200.0
"""No benchmark needs as long; one that hangs must not keep the others from running."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one benchmark reported: `cases` and `targets` as `benchmarks.figures.write_report` writes them."""

    name: str
    seconds: float
    cases: Sequence[Mapping[str, Any]]
    targets: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Failed:
    """A benchmark without figures, why, and the command that shows it again."""

    name: str
    seconds: float
    reason: str
    command: Sequence[str]


def run(benchmark: Benchmark, quick: bool, folder: Path, limit_seconds: float = LIMIT_SECONDS) -> Gathered | Failed:
    """Run one benchmark in the foreground: what it prints, and its progress bar, are for whoever watches."""
    name, report = benchmark.name, folder / f"{benchmark.name}.json"
    options = ["--quick"] if quick else []
    command = [sys.executable, "-m", f"{benchmark.package}.{name}", *options]
    began = time.monotonic()
    try:
        status = subprocess.run([*command, "--json", str(report)], check=False, timeout=limit_seconds).returncode
        reason = f"ended with {status}" if status else None
    except subprocess.TimeoutExpired:
        reason = f"was stopped after {limit_seconds:g} s"
    seconds = time.monotonic() - began
    if reason is None:
        found = read_report(report)
        if not isinstance(found, str):
            return Gathered(name, seconds, found["cases"], found["targets"])
        reason = found
    return Failed(name, seconds, reason, command)


def read_report(path: Path) -> Mapping[str, Any] | str:
    """What a benchmark wrote, or what is wrong with it."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        return f"wrote no report that can be read: {error}"
    if not isinstance(found, dict) or not found.get("cases") or not isinstance(found.get("targets"), list):
        return "wrote a report without cases, or without a list of targets"
    return found
