"""The run of all tests says what each tier did, and is red when one of them did nothing."""

import pytest

from tests.tiers import TIERS

INI = """
[pytest]
testpaths = tests
addopts = -q -ra -p no:cacheprovider -p no:faulthandler
asyncio_default_fixture_loop_scope = function
"""
GREEN = "def test_it():\n    assert True\n"
RED = "def test_it():\n    assert False\n"
SKIPPED = "import pytest\n\n@pytest.mark.skip(reason='no server')\ndef test_it():\n    assert False\n"
TORN = "import pytest\n\n@pytest.fixture\ndef it():\n    yield\n    assert False\n\ndef test_it(it):\n    assert True\n"
XFAILED = "import pytest\n\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    assert False\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose every tier has one green test."""
    pytester.makeini(INI)
    pytester.makeconftest("pytest_plugins = ['tests.tiers']")
    for tier in TIERS:
        put(pytester, tier, GREEN)
    return pytester


def put(pytester: pytest.Pytester, tier: str, source: str) -> None:
    """Give a tier its one test file."""
    folder = pytester.path / "tests" / tier
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"test_{tier}.py").write_text(source, encoding="utf-8")


def remove(pytester: pytest.Pytester, tier: str) -> None:
    """Take its test file from a tier."""
    (pytester.path / "tests" / tier / f"test_{tier}.py").unlink()


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run pytest in the project."""
    return pytester.runpytest_inprocess(*arguments)


def test_each_tier_is_named_with_its_counts_before_the_last_line(project: pytest.Pytester) -> None:
    """Whoever reads the end of the output knows what ran; the last line stays pytest's own."""
    result = run(project)

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"{tier:<12} 1 passed in * s" for tier in TIERS])
    assert result.outlines[-1].startswith(f"{len(TIERS)} passed in ")


def test_fast_tiers_run_first_whatever_the_order_asked_for(project: pytest.Pytester) -> None:
    """A slip that a unit test sees is told before any server starts."""
    result = run(project, "-vv", *(f"tests/{tier}" for tier in reversed(TIERS)))

    ran = [line.split("/")[1] for line in result.outlines if "::test_it PASSED" in line]
    assert ran == list(TIERS)


def test_a_whole_run_without_one_tier_fails(project: pytest.Pytester) -> None:
    """A tier that vanished is an error in the list, in the last line and in the exit code."""
    remove(project, "integration")

    result = run(project)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["integration  NOT RUN", "ERROR tier integration - no test ran*"])
    assert result.outlines[-1].startswith(f"{len(TIERS) - 1} passed, 1 error in ")


def test_a_whole_run_that_skips_fails(project: pytest.Pytester) -> None:
    """A skipped tier would otherwise look green; it has run nothing and says so."""
    put(project, "e2e", SKIPPED)

    result = run(project)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["e2e          1 skipped in * s", "ERROR tier e2e - no test ran*"])


def test_one_skip_among_tests_that_ran_fails_a_whole_run(project: pytest.Pytester) -> None:
    """Nobody reads a list of skips in a green run."""
    put(project, "contract", GREEN + SKIPPED.replace("test_it", "test_other"))

    result = run(project)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["contract     1 passed, 1 skipped in * s", "ERROR tier contract - 1 skipped*"])
    assert result.outlines[-1].startswith(f"{len(TIERS)} passed, 1 skipped, 1 error in ")


@pytest.mark.parametrize("chosen", [["tests/unit"], ["-k", "test_it and not e2e"], ["--ignore=tests/e2e"]])
def test_a_part_that_was_asked_for_needs_no_other_tier(project: pytest.Pytester, chosen: list[str]) -> None:
    """While working on one thing, only that thing has to run."""
    result = run(project, *chosen)

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["unit         1 passed in * s", "e2e          NOT RUN"])


def test_a_skip_is_allowed_in_a_part_that_was_asked_for(project: pytest.Pytester) -> None:
    """pytest lists it; the whole run is what must not skip."""
    put(project, "unit", GREEN + SKIPPED.replace("test_it", "test_other"))

    assert run(project, "tests/unit").ret == pytest.ExitCode.OK


def test_a_failure_counts_once_wherever_it_happens(project: pytest.Pytester) -> None:
    """A test that passes and then fails while clearing up has failed, and is no second test."""
    put(project, "unit", RED)
    put(project, "agents", TORN)

    result = run(project)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["unit         1 failed in * s", "agents       1 failed in * s"])


def test_an_expected_failure_is_a_test_that_ran(project: pytest.Pytester) -> None:
    """A strict xfail states what is known not to work; it is not a skip."""
    put(project, "contract", XFAILED)

    assert run(project).ret == pytest.ExitCode.OK


def test_a_test_outside_the_tiers_stops_the_run(project: pytest.Pytester) -> None:
    """Else nobody would notice when it stops running."""
    put(project, "soak", GREEN)

    result = run(project)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_soak.py is in no tier: move it to one of tests/unit, *"])


def test_listing_the_tests_fails_nothing(project: pytest.Pytester) -> None:
    """`--collect-only` runs no test, and is not meant to."""
    assert run(project, "--collect-only").ret == pytest.ExitCode.OK


@pytest.mark.parametrize(("source", "options"), [("import nothing_of_this_name\n", []), (RED, ["--exitfirst"])])
def test_a_run_that_ended_early_blames_no_tier(project: pytest.Pytester, source: str, options: list[str]) -> None:
    """What stopped it is the news; that the rest did not run follows from it."""
    put(project, "unit", source)

    result = run(project, *options)

    assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}
    result.stdout.no_fnmatch_line("*no test ran*")


def test_a_run_without_any_test_fails(project: pytest.Pytester) -> None:
    """Nothing to run is not the same as nothing wrong."""
    for tier in TIERS:
        remove(project, tier)

    result = run(project)

    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines([f"ERROR tier {tier} - no test ran*" for tier in TIERS])
