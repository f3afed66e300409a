"""A test that makes a worker leave ends the whole run; it must not do so without a word."""

import os

import pytest

INI = "[pytest]\naddopts = -q -p no:cacheprovider\nasyncio_default_fixture_loop_scope = function\n"
DIES = """
from bems_streams.runtime.failfast import fail_fast

def test_before():
    assert True

def test_that_dies():
    with fail_fast("watching deadlines"):
        raise AttributeError("no attribute 'passed'")
"""
EXITS = "import os\n\ndef test_that_exits():\n    os._exit(7)\n"
FORKS = """
import os

def test_that_forks():
    child = os.fork()
    if not child:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
"""


def run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    """Run one file of tests in a process of its own."""
    pytester.makeini(INI)
    pytester.makeconftest("pytest_plugins = ['tests.last_words']")
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess()


def test_a_worker_that_leaves_names_the_test_and_the_error(pytester: pytest.Pytester) -> None:
    """The exit code is the worker's own."""
    result = run(pytester, DIES)

    assert result.ret == 70
    result.stderr.fnmatch_lines(
        [
            "*::test_that_dies ended the whole run with exit code 70:",
            "Traceback *",
            "AttributeError: no attribute 'passed'",
        ]
    )


def test_leaving_without_an_error_shows_the_place(pytester: pytest.Pytester) -> None:
    """The stack, since there is no exception."""
    result = run(pytester, EXITS)

    assert result.ret == 7
    result.stderr.fnmatch_lines(["*::test_that_exits ended the whole run with exit code 7:", "*os._exit(7)"])


def test_a_fork_leaves_as_it_likes(pytester: pytest.Pytester) -> None:
    """Its exit code is what it said, and nobody talks about the run."""
    result = run(pytester, FORKS)

    assert result.ret == pytest.ExitCode.OK
    result.stderr.no_fnmatch_line("*ended the whole run*")


def test_it_is_in_force_here() -> None:
    """In this very run."""
    assert os._exit.__qualname__ == "LastWords._leave"
