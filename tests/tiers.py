"""Runs the test tiers fast ones first, says what each of them did, and fails a whole run in which one is missing.

A tier is a folder of tests/. Not here: any test, any fixture.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TIERS: Final = ("unit", "contract", "agents", "integration", "e2e", "chaos")
"""In the order of running. All are required: asked for everything, a run without one of them, or with a skip, fails."""

SELECTIVE: Final = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "last_failed_no_failures")
NOT_SELECTIVE: Final[tuple[object, ...]] = (None, "", [], False, "all")  # their defaults

COMPLETE: Final = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


def pytest_configure(config: pytest.Config) -> None:
    """Join the run."""
    config.pluginmanager.register(TierReport(config), "bems-tiers")


def asks_for_everything(config: pytest.Config) -> bool:
    """Whether nobody chose a part: no path, no expression."""
    chosen = any(config.getoption(name, None) not in NOT_SELECTIVE for name in SELECTIVE)
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not chosen


class TierReport:
    """What ran, by tier. A test counts once, by the worst that happened to it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._tests = config.rootpath / "tests"
        self._worst: dict[str, str] = {}
        self._seconds = dict.fromkeys(TIERS, 0.0)

    def _tier_of(self, path: Path) -> str:
        """Raises UsageError for a test that belongs to no tier."""
        parts = path.relative_to(self._tests).parts if path.is_relative_to(self._tests) else ("",)
        if parts[0] not in TIERS:
            folders = ", ".join(f"tests/{tier}" for tier in TIERS)
            raise pytest.UsageError(f"{path} is in no tier: move it to one of {folders}, or name its folder in TIERS")
        return parts[0]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Fast tiers first; within a tier the order stays."""
        items.sort(key=lambda item: TIERS.index(self._tier_of(item.path)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for set-up, call and tear-down of each test."""
        self._seconds[self._tier_of(self._config.rootpath / report.nodeid.partition("::")[0])] += report.duration
        if report.failed:
            self._worst[report.nodeid] = "failed"
        elif report.skipped and not hasattr(report, "wasxfail"):
            self._worst.setdefault(report.nodeid, "skipped")
        elif report.when == "call":
            self._worst.setdefault(report.nodeid, "passed")

    def _counts(self, tier: str) -> Counter[str]:
        return Counter(worst for nodeid, worst in self._worst.items() if nodeid.startswith(f"tests/{tier}/"))

    def _problems(self) -> Iterator[tuple[str, str]]:
        """(tier, what is wrong with it) of a run that asked for everything."""
        for tier in TIERS:
            counts = self._counts(tier)
            if not counts["passed"] + counts["failed"]:
                yield tier, "no test ran, and a whole run needs every tier"
            elif counts["skipped"]:
                yield tier, f"{counts['skipped']} skipped, and a required tier never skips"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A missing tier is an error like any other: in the list of failures, in the last line, in the exit code."""
        ended_early = bool(session.shouldfail) or session.exitstatus not in COMPLETE
        if ended_early or self._config.option.collectonly or not asks_for_everything(self._config):
            return
        for tier, problem in self._problems():
            report = pytest.CollectReport(f"tier {tier}", "failed", problem, result=None)
            self._config.hook.pytest_collectreport(report=report)
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One line per tier."""
        terminalreporter.section("tiers")
        for tier in TIERS:
            counts = self._counts(tier)
            said = ", ".join(
                f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped") if counts[outcome]
            )
            terminalreporter.write_line(
                f"{tier:<12} {said + f' in {self._seconds[tier]:.1f} s' if said else 'NOT RUN'}"
            )
