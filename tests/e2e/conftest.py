"""A real browser and a real console process for the end-to-end tier. Both are stopped by pid."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

DEADLINE_SECONDS = 20.0
INSTALL = "sudo apt-get install --yes chromium chromium-driver"
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en-GB",
    "--window-size=1440,1600",
)


class ConsoleProcess:
    """`bems console` over the store of a folder."""

    def __init__(self, state_dir: Path, port: int = 0, watch: str | None = None) -> None:
        arguments = ["console", "--port", str(port), "--state-dir", str(state_dir)]
        self._log = (state_dir / "console.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from bems_streams.cli.main import main; main()", *arguments]
            + (["--watch", watch] if watch else []),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "BEMS_CELL": "test-cell"},
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        log = state_dir / "console.log"
        assert line.startswith("console: http://"), f"the console did not start: {line}{log.read_text()}"
        self.url = line.split()[1]
        self.port = httpx.URL(self.url).port or 0
        eventually(self._answers, "the console answers")

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}healthz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self._process.terminate()
        status = self._process.wait(DEADLINE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()
        return status


def eventually(condition: Callable[[], object], what: str) -> None:
    """Poll until the condition holds; fail with `what` after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Headless Chromium with a fresh profile. Its absence fails the tier: a required tier never skips."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail(f"the end-to-end tier needs Chromium and its driver. Install them: {INSTALL}", pytrace=False)
    options = Options()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    os.environ["SE_OFFLINE"] = "true"
    os.environ["SE_AVOID_STATS"] = "true"
    chrome = Chrome(options=options, service=Service(driver, log_output=subprocess.DEVNULL))
    try:
        yield chrome
    finally:
        chrome.quit()
