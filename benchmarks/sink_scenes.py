"""The same rows by turns through `store.write` and through the bare upsert of the same store, batch by batch.

Not here: the rows (sink_rows.py), the stores (sink_store.py), the sink as a process (sink_process.py).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bems_streams.adapters.stores import open_store
from bems_streams.ports import StoreBatch
from benchmarks.figures import Run
from benchmarks.sink_rows import RowStream
from benchmarks.sink_store import Subject, Write

FILL_ROWS: Final = 20_000
BARE, OURS = "bare upsert", "store.write"


@dataclass(frozen=True, slots=True)
class Scene:
    """What is written. `copies`: share of events that were stored before; `statuses`: invoice states, not events."""

    rows_per_transaction: int
    copies: float = 0.0
    statuses: bool = False

    @property
    def name(self) -> str:
        """As part of a case's name."""
        what = "invoice states" if self.statuses else "events"
        copies = f", {self.copies:.0%} duplicates" if self.copies else ""
        return f"{what}, {self.rows_per_transaction:,} a transaction{copies}"

    def batches(self, stream: RowStream, rows: int) -> Iterator[StoreBatch]:
        """So many rows."""
        for _ in range(rows // self.rows_per_transaction):
            if self.statuses:
                yield stream.statuses(self.rows_per_transaction)
            else:
                yield stream.events(self.rows_per_transaction, self.copies)


class Pair:
    """Two stores of one kind that hold the same rows, one for each way. `rows`: events that were given to each."""

    def __init__(self, subject: Subject, folder: Path, stream: RowStream) -> None:
        self.folders = {BARE: folder / "bare", OURS: folder / "ours"}
        for each in self.folders.values():
            each.mkdir(parents=True)
        self._stream = stream
        self._bare = subject.bare(self.folders[BARE])
        self._store = open_store(subject.url(self.folders[OURS]))
        self.rows = 0

    def fill(self, rows: int, advance: Callable[[int], object]) -> None:
        """Up to so many events, and a state of each of their invoices."""
        while self.rows < rows:
            batch = self._stream.events(min(FILL_ROWS, rows - self.rows))
            self._write_both(batch)
            advance(len(batch.events))
        for batch in self._stream.first_statuses(FILL_ROWS):
            self._write_both(batch)

    def _write_both(self, batch: StoreBatch) -> None:
        self._bare.prepare(batch)()
        self._store.write(batch)
        self.rows += len(batch.events)

    def measure(self, batches: Iterable[StoreBatch]) -> dict[str, Run]:
        """One run of each way: a batch to the one, then to the other, and the other way round for the next."""
        clocks = {way: _Clock() for way in self.folders}
        rows = 0
        for number, batch in enumerate(batches):
            ways: dict[str, Write] = {BARE: self._bare.prepare(batch), OURS: partial(self._store.write, batch)}
            for way in (BARE, OURS) if number % 2 else (OURS, BARE):
                clocks[way].time(ways[way])
            rows += len(batch.events) + len(batch.invoices)
            self.rows += len(batch.events)
        return {way: clock.run(rows) for way, clock in clocks.items()}

    def close(self) -> None:
        """Release the stores; the files stay."""
        self._bare.close()
        self._store.close()


class _Clock:
    """Time and CPU of several calls."""

    def __init__(self) -> None:
        self._seconds = self._cpu_seconds = 0.0

    def time(self, work: Callable[[], object]) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        work()
        self._seconds += time.perf_counter() - began
        self._cpu_seconds += time.thread_time() - cpu

    def run(self, rows: int) -> Run:
        return Run(rows, self._seconds, self._cpu_seconds)
