"""Runs one peer over topics that are filled already, as a process of its own, and makes a Run of the marks it leaves.

Not here: which peers there are (line_up.py), whether its results are right (verdict.py).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bems_streams.domain.journey import Journey
from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec
from benchmarks.figures import Run
from benchmarks.peers.task import Mark, Task
from benchmarks.processes import Meter, with_children

WHOLE: Final = frozenset({"first", "half", "last", "durable"})
"""The marks of a peer that handled everything."""

LIMIT_SECONDS: Final = 900.0
LOOK_SECONDS: Final = 0.1
STOP_SECONDS: Final = 20.0
LOG_TAIL: Final = 3000
ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Subject:
    """A peer.

    command   what to start; the path of the task is appended, then `options`
    settings  what a reader must know to judge the figure
    durable   whether it keeps state in a changelog and commits offsets
    slow      whether it gets the small backlog
    """

    name: str
    measures: str
    command: Sequence[str]
    options: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    durable: bool = True
    publishes: bool = True
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Backlog:
    """Topics that hold `events` records. `invoices` and `copies`: what the feed says it consists of."""

    bootstrap: str
    topics: Sequence[str]
    partitions: int
    journey: Journey
    events: int
    copies: int
    invoices: int

    def task(self, group: str, status_topic: str | None, folder: Path) -> Task:
        """What a peer is told. `folder` must be empty."""
        return Task(
            bootstrap=self.bootstrap,
            topics=tuple(self.topics),
            partitions=self.partitions,
            events=self.events,
            group=group,
            status_topic=status_topic,
            folder=str(folder / "state"),
            marks=str(folder / "marks"),
            journey=tuple((stage.name, stage.code, stage.stuck_after_us) for stage in self.journey.stages),
            cell="bench-1",
            region="bench",
        )


@dataclass(frozen=True, slots=True)
class Drained:
    """What a peer used, and the results that it told itself, if any."""

    run: Run
    told: Mapping[str, int]


def drain(subject: Subject, task: Task, folder: Path) -> Drained:
    """Run it until it has handled everything. ClickException, with the end of what it said, when it does not."""
    Path(task.folder).mkdir(parents=True)
    task_path, log = folder / "task.json", folder / "log"
    task_path.write_bytes(msgspec.json.encode(task))
    spawner = ProcessSpawner()
    command = [*subject.command, str(task_path), *subject.options]
    process = ManagedProcess(ProcessSpec(subject.name, command, log, cwd=ROOT), spawner)
    try:
        pid = process.start()
        with Meter(with_children(pid)) as meter:
            marks = _await_marks(process, Path(task.marks), "durable" if subject.durable else "results")
    except TimeoutError as error:
        said = log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:] if log.exists() else ""
        raise click.ClickException(f"{subject.name} {error}. It said:\n{said}") from error
    finally:
        process.stop(STOP_SECONDS)
        spawner.close()
    told = marks["results"].results if "results" in marks else {}
    return Drained(run_of(marks, meter.usage.peak_rss_bytes), told)


def _await_marks(process: ManagedProcess, path: Path, last: str) -> dict[str, Mark]:
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        ended = process.exit_code
        marks = read_marks(path)
        if last in marks and WHOLE.issubset(marks):
            return marks
        if ended is not None:
            raise TimeoutError(f"ended with {ended} after the marks {', '.join(marks) or 'none'}")
        if time.monotonic() > end:
            raise TimeoutError(f"came to {', '.join(marks) or 'nothing'} within {LIMIT_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def read_marks(path: Path) -> dict[str, Mark]:
    """By name; a line that is still being written is left for the next look."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    found = (msgspec.json.decode(line, type=Mark) for line in lines if line.endswith(b"\n"))
    return {mark.name: mark for mark in found}


def run_of(marks: Mapping[str, Mark], peak_rss_bytes: int) -> Run:
    """The whole run is from the first records until all is committed; `steady_…` is the second half of the events.

    What the final commit costs belongs to all events, so half of it counts for the second half.
    """
    first, half, last, durable = (marks[name] for name in ("first", "half", "last", "durable"))
    steady_events = last.events - half.events
    steady_cpu_seconds = last.cpu_seconds - half.cpu_seconds + (durable.cpu_seconds - last.cpu_seconds) / 2
    return Run(
        events=last.events,
        seconds=durable.seconds - first.seconds,
        cpu_seconds=durable.cpu_seconds - first.cpu_seconds,
        peak_rss_bytes=peak_rss_bytes,
        extra={
            "steady_cpu_us_per_event": 1e6 * steady_cpu_seconds / steady_events,
            "steady_events_per_second": steady_events / (last.seconds - half.seconds),
            "started_cpu_us_per_event": 1e6 * durable.cpu_seconds / last.events,
        },
    )
