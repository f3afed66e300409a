"""Keeps child processes running: restarts those that end unasked, later each time, and stops all in order.

Not here: starting and ending one process (processes.py).
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, NamedTuple, Self

from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec

_log: Final = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.05


class ChildState(StrEnum):
    """What a child is doing."""

    RUNNING = "running"
    WAITING = "waiting"  # ended unasked; starts again after a pause
    STOPPING = "stopping"
    STOPPED = "stopped"


class ChildStatus(NamedTuple):
    """One child now. `exit_code` tells how its last run ended (-N: signal N); None while it has not ended yet."""

    name: str
    pid: int | None
    state: ChildState
    restarts: int
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Pauses before restarts double from `first_seconds` to `longest_seconds`; a steady run starts over."""

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    steady_seconds: float = 60.0

    def pause_seconds(self, failures: int) -> float:
        """The pause after that many runs (1 or more) that ended too soon, one after the other."""
        return min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))


class _Child:
    """One supervised process; the supervisor's lock guards it."""

    def __init__(self, process: ManagedProcess) -> None:
        self.process = process
        self.state = ChildState.STOPPED
        self.restarts = 0
        self.failures = 0
        self.started_at = 0.0
        self.due_at = 0.0
        self.last_exit_code: int | None = None

    def status(self) -> ChildStatus:
        return ChildStatus(self.process.spec.name, self.process.pid, self.state, self.restarts, self.last_exit_code)


class Supervisor:
    """A set of named child processes. Thread-safe.

    `on_change` hears every change of state, from the thread that made it; it must be quick and not raise.
    On Linux the children die with this process, however it ends.
    """

    def __init__(
        self, policy: RestartPolicy | None = None, on_change: Callable[[ChildStatus], None] | None = None
    ) -> None:
        self._policy = policy or RestartPolicy()
        self._on_change = on_change or (lambda _: None)
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()
        self._spawner = ProcessSpawner()
        self._closing = False
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._watcher.start()

    def start(self, spec: ProcessSpec) -> int:
        """Start a child under its name, which must be new; returns its pid."""
        with self._lock:
            if self._closing:
                raise RuntimeError(f"{spec.name} is not started: this supervisor is closed")
            if spec.name in self._children:
                raise ValueError(f"{spec.name} is supervised already: give the second one another name")
            child = _Child(ManagedProcess(spec, self._spawner))
            pid = self._run(child)
            self._children[spec.name] = child
            status = child.status()
        self._tell([status])
        return pid

    def statuses(self) -> Sequence[ChildStatus]:
        """Every child, in the order they were started first."""
        with self._lock:
            return [child.status() for child in self._children.values()]

    def kill(self, name: str) -> None:
        """SIGKILL a child, as a crash would; it is restarted like after any crash."""
        with self._lock:
            process = self._children[name].process
        process.kill()

    def stop(self, name: str, deadline_seconds: float) -> ChildStatus:
        """Stop one child until `start_again`: SIGTERM, SIGKILL after the deadline. Returns how it ended."""
        with self._lock:
            child = self._children[name]
            child.state = ChildState.STOPPING
            asked = child.status()
        self._tell([asked])
        child.process.stop(deadline_seconds)
        with self._lock:
            child.state = ChildState.STOPPED
            child.last_exit_code = child.process.exit_code
            done = child.status()
        self._tell([done])
        return done

    def start_again(self, name: str) -> int:
        """Start a child that `stop` had ended; returns its pid. ValueError for one that was not."""
        with self._lock:
            child = self._children[name]
            if self._closing:
                raise RuntimeError(f"{name} is not started: this supervisor is closed")
            if child.state is not ChildState.STOPPED:
                raise ValueError(f"{name} is {child.state.value}: stop it before starting it again")
            pid = self._run(child)
            child.restarts += 1
            status = child.status()
        self._tell([status])
        return pid

    def close(self, deadline_seconds: float, order: Sequence[str] = ()) -> None:
        """Stop the children in `order`, each gone before the next is asked; then the others, the last started first."""
        with self._lock:
            self._closing = True
            others = [name for name in reversed(self._children) if name not in order]
        for name in (*order, *others):
            self.stop(name, deadline_seconds)
        self._ended.set()
        self._watcher.join()
        self._spawner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(deadline_seconds=10.0)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            with self._lock:
                changed = [self._look(child) for child in self._children.values()]
            self._tell([status for status in changed if status is not None])

    def _look(self, child: _Child) -> ChildStatus | None:
        """Notice an end, or start what is due. Returns the new status when the state changed."""
        now = time.monotonic()
        if child.state is ChildState.RUNNING and child.process.pid is None:
            child.last_exit_code = child.process.exit_code
            steady = now - child.started_at >= self._policy.steady_seconds
            self._pause(child, failures=1 if steady else child.failures + 1)
        elif child.state is ChildState.WAITING and now >= child.due_at:
            try:
                self._run(child)
                child.restarts += 1
            except OSError as error:  # no memory or process to spare: as good as a run that failed
                _log.error("%s could not be restarted: %s", child.process.spec.name, error)
                self._pause(child, child.failures + 1)
        else:
            return None
        return child.status()

    def _run(self, child: _Child) -> int:
        pid = child.process.start()
        child.started_at = time.monotonic()
        child.state = ChildState.RUNNING
        return pid

    def _pause(self, child: _Child, failures: int) -> None:
        child.failures = failures
        child.due_at = time.monotonic() + self._policy.pause_seconds(failures)
        child.state = ChildState.WAITING

    def _tell(self, changed: Sequence[ChildStatus]) -> None:
        for status in changed:
            try:
                self._on_change(status)
            except Exception:
                _log.exception("the listener failed on %s; supervision goes on", status)
