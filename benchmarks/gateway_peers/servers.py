"""Starts the servers that are measured, each a process of its own on a free port, and reads what they use.

Not here: which there are (line_up.py), sending requests (http_load.py).
"""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import httpx
import psutil

ROOT: Final = Path(__file__).parents[2]
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
LOG_TAIL: Final = 2000


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers. All of them run their event loop on their first thread."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """User and system time of all its threads."""
        times = self.process.cpu_times()
        return times.user + times.system

    def loop_cpu_seconds(self) -> float:
        """What of it the event loop took: one core's worth of it a second is all there is."""
        loop = next(thread for thread in self.process.threads() if thread.id == self.process.pid)
        return loop.user_time + loop.system_time


@contextmanager
def serving(name: str, command: Sequence[str], folder: Path) -> Iterator[Server]:
    """Start it, wait until it is ready, stop it. It prints its address first; ClickException when it does not."""
    log = folder / f"{name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise click.ClickException(f"{name} did not start. It said:\n{log.read_text(errors='replace')[-LOG_TAIL:]}")
        port = int(line.rpartition("http://")[2].partition("/")[0].rpartition(":")[2])
        _await_ready(name, port)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _await_ready(name: str, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
        while time.monotonic() < deadline:
            try:
                if client.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.1)
    raise click.ClickException(f"{name} did not become ready within {READY_SECONDS:g} s")
