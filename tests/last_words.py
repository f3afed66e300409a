"""Says which test ended the whole process, and why: workers leave by `os._exit`, and pytest would go without a word.

Not here: whether that was right. A test of leaving at once does it in a process of its own.
"""

import os
import sys
import traceback
from typing import NoReturn

import pytest

_exit = os._exit


def pytest_configure(config: pytest.Config) -> None:
    """Join the run."""
    config.pluginmanager.register(LastWords(config), "bems-last-words")


class LastWords:
    """Stands in for `os._exit` in the process that runs the tests; its forks leave as they like."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._running = "no test"
        self._pid = os.getpid()

    def pytest_sessionstart(self) -> None:
        """From now on."""
        os._exit = self._leave

    def pytest_unconfigure(self) -> None:
        """Until the end."""
        os._exit = _exit

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Called before each test."""
        self._running = nodeid

    def _leave(self, status: int) -> NoReturn:
        if os.getpid() == self._pid:
            if self._capture is not None:
                self._capture.suspend_global_capture(in_=True)
            print(f"\n{self._running} ended the whole run with exit code {status}:", file=sys.stderr)
            traceback.print_exc() if sys.exc_info()[0] else traceback.print_stack()
            sys.stderr.flush()
        _exit(status)
