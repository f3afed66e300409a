"""One child process: started with a log file, bound to this process's life, stopped by pid with a deadline.

Not here: when to restart it (supervisor.py) or what it is.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_TETHER: Final = Path(__file__).with_name("tether.py")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run. `env` is added to this process's environment; output is appended to `log_path`."""

    name: str
    command: Sequence[str]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


class ProcessSpawner:
    """Starts children from one thread that lives until `close()`.

    On Linux a child is killed when the *thread* that started it ends, so no short-lived thread may start one.
    Closing it kills every child that still runs.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

    def spawn(self, spec: ProcessSpec) -> "subprocess.Popen[bytes]":
        """Start it in a session of its own, so that a Ctrl-C in the terminal reaches only the parent."""
        return self._thread.submit(_popen, spec).result()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True)


def _popen(spec: ProcessSpec) -> "subprocess.Popen[bytes]":
    spec.log_path.parent.mkdir(parents=True, exist_ok=True)
    with spec.log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *spec.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **spec.env},
            cwd=spec.cwd,
            start_new_session=True,
        )


class ManagedProcess:
    """A child that is running or not. `start` is for one thread at a time; the rest may be called from any."""

    def __init__(self, spec: ProcessSpec, spawner: ProcessSpawner) -> None:
        self.spec = spec
        self._spawner = spawner
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs, else None."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended (-N: signal N); None while it runs or before it ever ran."""
        return self._popen.poll() if self._popen is not None else None

    def start(self) -> int:
        """Start it and return its pid. It must not be running."""
        if self.pid is not None:
            raise RuntimeError(f"{self.spec.name} runs already as process {self.pid}: stop it before starting it again")
        self._popen = self._spawner.spawn(self.spec)
        return self._popen.pid

    def ask_to_stop(self) -> None:
        """Send SIGTERM; nothing happens when it has ended."""
        if self._popen is not None:
            self._popen.send_signal(signal.SIGTERM)  # checks first whether it has ended: a reused pid is never hit

    def kill(self) -> None:
        """Send SIGKILL and wait until it is gone."""
        popen = self._popen
        if popen is not None:
            popen.send_signal(signal.SIGKILL)
            popen.wait()

    def stop(self, deadline_seconds: float) -> int | None:
        """SIGTERM, then SIGKILL after the deadline. Returns the exit code; None when it never ran."""
        if self._popen is None:
            return None
        self.ask_to_stop()
        try:
            return self._popen.wait(timeout=deadline_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._popen.returncode


def stop_all(processes: Sequence[ManagedProcess], deadline_seconds: float, now: Callable[[], float]) -> None:
    """Ask all to stop at once, wait for them together, kill what is left at the deadline."""
    for process in processes:
        process.ask_to_stop()
    end = now() + deadline_seconds
    for process in processes:
        process.stop(max(0.0, end - now()))
