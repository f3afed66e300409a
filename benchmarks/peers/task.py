"""What a peer is asked to do, and how it says how far it is: the same for engines in Python and in Java.

Not here: the work (invoices.py), the engines (one file each), who starts them (subject.py).
"""

import sys
import time
from pathlib import Path

import msgspec

from bems_streams.domain.journey import Journey, Stage, StageCode


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON file, the only argument of a peer.

    events        how many records the topics hold; the peer's work is over when it has handled them all
    group         consumer group or application id, not used before
    status_topic  where to publish the new status of an invoice; None: nowhere
    folder        for local state; empty
    marks         where to append marks, one JSON object a line
    journey       (name, code, stuck after µs) of each stage
    """

    bootstrap: str
    topics: tuple[str, ...]
    partitions: int
    events: int
    group: str
    status_topic: str | None
    folder: str
    marks: str
    journey: tuple[tuple[str, int, int | None], ...]
    cell: str
    region: str

    def stages(self) -> Journey:
        """The journey of the catalogue."""
        return Journey(tuple(Stage(name, StageCode(code), limit_us) for name, code, limit_us in self.journey))


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A point that a peer reached, and what it had cost by then: wall clock, and CPU of its process since it began.

    name  `first`: its first records are there · `half`: half of all was handled · `last`: all was handled ·
          `durable`: and committed, with all that belongs to it
    """

    name: str
    events: int
    seconds: float
    cpu_seconds: float
    results: dict[str, int] = {}


class Marks:
    """Counts events and writes the marks. `add` is the only cost per event, or per batch."""

    def __init__(self, task: Task) -> None:
        self.events = 0
        self._path = Path(task.marks)
        self._wanted = task.events
        self._next = 1

    def add(self, events: int = 1) -> bool:
        """Count what was handled; True once, when it was the last."""
        self.events += events
        return self.events >= self._next and self._reached()

    def begin(self) -> None:
        """Say that records are there, before the first is handled."""
        self._next = (self._wanted + 1) // 2
        self.write("first")

    def _reached(self) -> bool:
        if self.events >= self._wanted:
            self._next = sys.maxsize
            self.write("last")
            return True
        self._next = self._wanted
        self.write("half")
        return False

    def write(self, name: str, results: dict[str, int] | None = None) -> None:
        """Append one mark."""
        mark = Mark(
            name=name,
            events=self.events,
            seconds=time.perf_counter(),
            cpu_seconds=time.process_time(),
            results=results or {},
        )
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(mark) + b"\n")


def read_task() -> Task:
    """From the file that the command line names."""
    return msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Task)
