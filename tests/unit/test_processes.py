"""Child processes, run for real: started, watched, restarted, stopped and never left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec, stop_all
from bems_streams.local.supervisor import ChildState, ChildStatus, RestartPolicy, Supervisor

SLEEP = [sys.executable, "-S", "-c", "print('up', flush=True); input() if False else __import__('time').sleep(600)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
FAST = RestartPolicy(first_seconds=0.01, longest_seconds=0.05)


def until(true: Callable[[], bool], what: str) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, f"not within 20 s: {what}"
        time.sleep(0.01)


def says(path: Path, text: str) -> bool:
    """Whether a child's log has it."""
    return path.exists() and text in path.read_text()


def gone(pid: int) -> bool:
    """Whether no process has that pid any more (a zombie that nobody reaps has ended too)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def spawner() -> Iterator[ProcessSpawner]:
    """A spawner that is closed after the test."""
    made = ProcessSpawner()
    yield made
    made.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a child writes."""
    return tmp_path / "logs" / "child.log"


def test_a_child_writes_to_its_log_and_sees_its_environment(spawner: ProcessSpawner, log: Path) -> None:
    """Output and errors are appended to the log file, whose folder is made; `env` is added to ours."""
    command = [
        sys.executable,
        "-c",
        "import os, sys; print(os.environ['COLOUR']); print('PATH' in os.environ); sys.exit(3)",
    ]
    child = ManagedProcess(ProcessSpec("child", command, log, env={"COLOUR": "green"}), spawner)
    child.start()
    until(lambda: child.exit_code is not None, "the child ended")
    assert (child.pid, child.exit_code) == (None, 3)
    assert log.read_text() == "green\nTrue\n"


def test_a_child_that_listens_stops_at_once(spawner: ProcessSpawner, log: Path) -> None:
    """SIGTERM is enough for it."""
    child = ManagedProcess(ProcessSpec("child", SLEEP, log), spawner)
    pid = child.start()
    until(lambda: says(log, "up"), "the child is up")
    assert child.pid == pid
    assert child.stop(deadline_seconds=20) == -signal.SIGTERM
    assert not psutil.pid_exists(pid)


def test_a_child_that_does_not_listen_is_killed_at_the_deadline(spawner: ProcessSpawner, log: Path) -> None:
    """SIGKILL follows SIGTERM when the deadline has passed."""
    child = ManagedProcess(ProcessSpec("child", STUBBORN, log), spawner)
    pid = child.start()
    until(lambda: says(log, "up"), "the child is up")
    assert child.stop(deadline_seconds=0.2) == -signal.SIGKILL
    assert not psutil.pid_exists(pid)


def test_several_are_stopped_within_one_deadline(spawner: ProcessSpawner, tmp_path: Path) -> None:
    """Three children that ignore SIGTERM take one deadline together, not one each."""
    children = [ManagedProcess(ProcessSpec(f"c{n}", STUBBORN, tmp_path / f"{n}.log"), spawner) for n in range(3)]
    for child in children:
        child.start()
    until(lambda: all(says(tmp_path / f"{n}.log", "up") for n in range(3)), "all are up")
    began = time.monotonic()
    stop_all(children, 1.0, time.monotonic)
    assert 1.0 <= time.monotonic() - began < 2.0
    assert [child.exit_code for child in children] == [-signal.SIGKILL] * 3


def test_a_command_that_does_not_exist_ends_with_a_reason(spawner: ProcessSpawner, log: Path) -> None:
    """The log says what could not be started."""
    child = ManagedProcess(ProcessSpec("child", ["/nowhere/program"], log), spawner)
    child.start()
    until(lambda: child.exit_code is not None, "the child ended")
    assert child.exit_code == 1
    assert log.read_text() == "/nowhere/program cannot be started: No such file or directory\n"


def test_a_running_child_is_not_started_twice(spawner: ProcessSpawner, log: Path) -> None:
    """Starting it again while it runs is refused."""
    child = ManagedProcess(ProcessSpec("child", SLEEP, log), spawner)
    child.start()
    with pytest.raises(RuntimeError, match="stop it before"):
        child.start()
    child.kill()


PARENT = """
import sys, threading, time
from pathlib import Path
from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec
log = Path(sys.argv[1])
child = ManagedProcess(ProcessSpec("child", sys.argv[2:], log), ProcessSpawner())

def start():
    child.start()
    while not (log.exists() and "up" in log.read_text()):
        time.sleep(0.01)

starter = threading.Thread(target=start)
starter.start()
starter.join()
while Path(f"/proc/self/task/{starter.native_id}").exists():  # until the kernel, too, has seen it end
    time.sleep(0.01)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_no_child_outlives_a_killed_parent(log: Path) -> None:
    """A parent that is killed with SIGKILL takes its children with it; a thread that merely ends does not."""
    # given a parent whose child was started from a thread that has ended
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log), *STUBBORN], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    said = parent.stdout.readline().decode().strip()
    # when
    parent.kill()
    parent.communicate(timeout=20)
    # then
    assert said.isdecimal(), "the child did not outlive the thread that asked for it"
    until(lambda: gone(int(said)), "the child is gone")


def test_pauses_double_up_to_the_longest() -> None:
    """The pause before a restart is bounded, however many runs failed."""
    policy = RestartPolicy(first_seconds=0.5, longest_seconds=30)
    assert [policy.pause_seconds(failures) for failures in (1, 2, 3, 6, 7, 8, 1_000_000)] == [0.5, 1, 2, 16, 30, 30, 30]


class Listener:
    """Remembers what a supervisor tells."""

    def __init__(self) -> None:
        self._told: list[ChildStatus] = []
        self._lock = threading.Lock()

    def __call__(self, status: ChildStatus) -> None:
        with self._lock:
            self._told.append(status)

    def states(self, name: str) -> list[ChildState]:
        """The states of one child, in order."""
        with self._lock:
            return [status.state for status in self._told if status.name == name]

    def names(self, state: ChildState) -> list[str]:
        """Who reached a state, in order."""
        with self._lock:
            return [status.name for status in self._told if status.state is state]


def test_a_child_that_was_killed_is_started_again(log: Path) -> None:
    """After a crash a new process runs under the name, the restart is counted and the listener was told each step."""
    # given
    heard = Listener()
    with Supervisor(FAST, heard) as supervisor:
        first = supervisor.start(ProcessSpec("worker", SLEEP, log))
        # when it crashes
        os.kill(first, signal.SIGKILL)
        until(lambda: supervisor.statuses()[0].restarts == 1, "it was restarted")
        # then
        (now,) = supervisor.statuses()
        assert now.state is ChildState.RUNNING
        assert now.pid not in (None, first)
        assert now.exit_code == -signal.SIGKILL
        assert heard.states("worker") == [ChildState.RUNNING, ChildState.WAITING, ChildState.RUNNING]


def test_kill_is_like_a_crash(log: Path) -> None:
    """Killing a child through the supervisor leads to a restart."""
    with Supervisor(FAST) as supervisor:
        first = supervisor.start(ProcessSpec("worker", SLEEP, log))
        supervisor.kill("worker")
        assert not psutil.pid_exists(first)
        until(lambda: supervisor.statuses()[0].restarts == 1, "it was restarted")


def test_a_child_that_keeps_failing_waits_longer_each_time(log: Path) -> None:
    """Restarts of a child that ends at once become rarer; its runs and exit code are shown."""
    # given a child that notes when it ran, and fails
    command = [sys.executable, "-S", "-c", "import time; print(time.monotonic()); raise SystemExit(7)"]
    with Supervisor(RestartPolicy(first_seconds=0.2, longest_seconds=60)) as supervisor:
        supervisor.start(ProcessSpec("worker", command, log))
        # when it has run four times
        until(lambda: log.exists() and len(log.read_text().split()) == 4, "it ran four times")
        until(lambda: supervisor.statuses()[0].state is ChildState.WAITING, "the end was noticed")
        # then the pauses were at least 0.2, 0.4 and 0.8 s
        times = [float(line) for line in log.read_text().split()]
        assert [b - a >= pause for a, b, pause in zip(times, times[1:], (0.2, 0.4, 0.8), strict=False)] == [True] * 3
        assert supervisor.statuses()[0]._replace(pid=None) == ("worker", None, ChildState.WAITING, 3, 7)


def test_a_steady_run_forgives_earlier_failures(log: Path) -> None:
    """After a run of `steady_seconds` the pauses start over."""
    # given a policy by which every run is steady, and pauses that would soon be minutes
    policy = RestartPolicy(first_seconds=0.01, longest_seconds=600, steady_seconds=0.0)
    command = [sys.executable, "-S", "-c", "pass"]
    with Supervisor(policy) as supervisor:
        supervisor.start(ProcessSpec("worker", command, log))
        # then twelve restarts (the last pause would be 20 s) come quickly
        until(lambda: supervisor.statuses()[0].restarts >= 12, "twelve restarts")


def test_a_stopped_child_stays_stopped(log: Path) -> None:
    """Stopping is for good: how it ended is told and no restart follows."""
    heard = Listener()
    with Supervisor(FAST, heard) as supervisor:
        pid = supervisor.start(ProcessSpec("worker", SLEEP, log))
        status = supervisor.stop("worker", deadline_seconds=20)
        assert status == ("worker", None, ChildState.STOPPED, 0, -signal.SIGTERM)
        assert not psutil.pid_exists(pid)
    assert heard.states("worker")[:3] == [ChildState.RUNNING, ChildState.STOPPING, ChildState.STOPPED]
    assert ChildState.WAITING not in heard.states("worker")


def test_children_are_stopped_in_the_order_given(tmp_path: Path) -> None:
    """Each child of the order is gone before the next is asked; the others follow, the last started first."""
    # given
    heard = Listener()
    supervisor = Supervisor(FAST, heard)
    pids = [supervisor.start(ProcessSpec(name, SLEEP, tmp_path / name)) for name in ("broker", "store", "gate", "feed")]
    # when
    supervisor.close(deadline_seconds=20, order=["feed", "gate"])
    # then
    assert heard.names(ChildState.STOPPED) == ["feed", "gate", "store", "broker"]
    assert heard.states("gate") == [ChildState.RUNNING, ChildState.STOPPING, ChildState.STOPPED]
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_names_are_unique_and_a_closed_supervisor_starts_nothing(log: Path) -> None:
    """A second child of a name is refused, and so is any child after closing."""
    supervisor = Supervisor(FAST)
    supervisor.start(ProcessSpec("worker", SLEEP, log))
    with pytest.raises(ValueError, match="another name"):
        supervisor.start(ProcessSpec("worker", SLEEP, log))
    supervisor.close(deadline_seconds=20)
    with pytest.raises(RuntimeError, match="closed"):
        supervisor.start(ProcessSpec("late", SLEEP, log))


def test_a_listener_that_fails_does_not_end_supervision(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its failure is logged and children are restarted as ever."""

    def broken(status: ChildStatus) -> None:
        raise ValueError(status.name)

    with Supervisor(FAST, broken) as supervisor:
        pid = supervisor.start(ProcessSpec("worker", SLEEP, log))
        os.kill(pid, signal.SIGKILL)
        until(lambda: supervisor.statuses()[0].restarts == 1, "it was restarted")
    assert "the listener failed" in caplog.text


def test_a_stopped_child_can_be_started_again_under_its_name(log: Path) -> None:
    """It is supervised as before; one that runs is not started twice."""
    with Supervisor(FAST) as supervisor:
        first = supervisor.start(ProcessSpec("child", SLEEP, log))
        with pytest.raises(ValueError, match="stop it before"):
            supervisor.start_again("child")
        supervisor.stop("child", 5.0)

        second = supervisor.start_again("child")

        assert second != first
        assert [(status.pid, status.state) for status in supervisor.statuses()] == [(second, ChildState.RUNNING)]
        supervisor.kill("child")
        until(lambda: supervisor.statuses()[0].restarts == 2, "it is restarted")
