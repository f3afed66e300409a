"""What the sink costs: each store beside the bare bulk upsert of the same rows, and the whole process on a backlog.

Run `python -m benchmarks.sink [--quick] [--json FILE]`. Rates share a disk with whatever else runs; CPU and ratios are
of interleaved runs. Not here: stores (sink_store.py), rows (sink_rows.py), the process (sink_process.py).
"""

import gc
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from agents.sink import MAX_RECORDS, PACE_SECONDS
from bems_streams.runtime.app import COLLECT_AFTER_OBJECTS
from bems_streams.runtime.positions import log_ends
from benchmarks.cluster import Cluster, cluster
from benchmarks.feed import fill
from benchmarks.figures import Case, Goal, Run, Target, write_report
from benchmarks.sink_process import SinkProcess, drain, hold
from benchmarks.sink_rows import RowStream
from benchmarks.sink_scenes import BARE, OURS, Pair, Scene
from benchmarks.sink_store import SUBJECTS, unmeasured

PARTITIONS: Final = 12
SEED: Final = 1
ROWS_SEED: Final = 1001
GOAL: Final = 0.5
PROCESS: Final = "sink process"
LARGE: Final = Scene(MAX_RECORDS)
SCENES: Final = (Scene(1000), LARGE, Scene(1000, copies=0.05), Scene(1000, statuses=True))


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured.

    existing  events in the store before, one pair of stores for each
    rows      of one run of a scene
    backlog   events in the topics; `rate` and `seconds`: those that come while the sink has nothing else to do
    """

    existing: Sequence[int]
    rows: int
    rounds: int
    backlog: int
    rate: int
    seconds: float


FULL: Final = Extent((0, 1_000_000), rows=50_000, rounds=5, backlog=300_000, rate=2000, seconds=15.0)
QUICK: Final = Extent((0, 100_000), rows=10_000, rounds=2, backlog=60_000, rate=2000, seconds=4.0)

Runs = defaultdict[tuple[str, str, int], list[Run]]
"""By store, what was measured, and rows before."""


class Bench:
    """One measurement of everything that there is a store for."""

    def __init__(self, extent: Extent, folder: Path, bar: Progress) -> None:
        self._extent = extent
        self._folder = folder
        self._bar = bar
        self.runs: Runs = defaultdict(list)

    def run(self) -> None:
        """All stores, all sizes; then each as the store of a real sink."""
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER_OBJECTS, *gc.get_threshold()[1:])  # as a worker does
        filled = {(store, rows): self._pair(store, rows) for store in SUBJECTS for rows in self._extent.existing}
        with cluster(partitions=PARTITIONS) as running:
            task = self._bar.add_task("filling topics", total=self._extent.backlog)
            fill(
                running.bootstrap,
                running.catalogue,
                self._extent.backlog,
                SEED,
                advance=partial(self._bar.advance, task),
            )
            for number in range(self._extent.rounds):
                for store in SUBJECTS:
                    with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                        self._process(running, (store, 0), Path(folder), number)
            for of, folder_of in filled.items():
                if of[1]:
                    self._process(running, of, folder_of, self._extent.rounds)

    def _pair(self, store: str, rows: int) -> Path:
        """Measure pairs of stores; the folder of the last one that holds what `store.write` wrote. Of empty ones each
        round has its own: a round leaves rows behind.
        """
        extent, stream = self._extent, RowStream(ROWS_SEED, PARTITIONS)
        rounds = [extent.rounds] if rows else [1] * extent.rounds
        total = len(rounds) * rows + extent.rounds * len(SCENES) * extent.rows
        task = self._bar.add_task(f"{store}: {rows:,} rows", total=total)
        for number, rounds_of_pair in enumerate(rounds):
            pair = Pair(SUBJECTS[store], self._folder / f"{store}-{rows}-{number}", stream)
            try:
                pair.fill(rows, lambda n: self._bar.advance(task, n))
                for _ in range(rounds_of_pair):
                    self._round(pair, stream, (store, rows), task)
            finally:
                pair.close()
        return pair.folders[OURS]

    def _round(self, pair: Pair, stream: RowStream, of: tuple[str, int], task: TaskID) -> None:
        for scene in SCENES:
            found = pair.measure(scene.batches(stream, self._extent.rows))
            self._bar.advance(task, self._extent.rows)
            for way, run in found.items():
                self.runs[of[0], f"{way}, {scene.name}", of[1]].append(run)

    def _process(self, running: Cluster, of: tuple[str, int], folder: Path, number: int) -> None:
        extent, (store, rows), subject = self._extent, of, SUBJECTS[of[0]]
        task = self._bar.add_task(f"{store}: {PROCESS} on {rows:,} rows", total=1)
        held = _held(running)
        state = Path(tempfile.mkdtemp(dir=self._folder))
        with SinkProcess(running, state, subject.url(folder)) as sink:
            drained = drain(sink, held)
            found = hold(sink, running, extent.rate, extent.seconds, SEED + 1 + number, held)
            events = sink.reader.counts().stored
        extra = {**drained.extra, "bytes_per_event": subject.used_bytes(folder) / events}
        self.runs[store, f"{PROCESS}, backlog", rows].append(replace(drained, extra=extra))
        self.runs[store, f"{PROCESS}, {extent.rate:,} events/s", rows].append(found)
        self._bar.advance(task)


def _held(running: Cluster) -> int:
    """Records in the stage topics."""
    topics = running.catalogue.stage_topics.values()
    places = [(topic, number) for topic in topics for number in range(running.catalogue.partitions)]
    return sum(end - start for start, end in log_ends({"bootstrap.servers": running.bootstrap}, places, 30.0).values())


def cases_of(runs: Mapping[tuple[str, str, int], Sequence[Run]]) -> list[Case]:
    """In the order in which they were measured, by store."""
    settings: dict[str, Any] = {"partitions": PARTITIONS, "seed": SEED, "pace_seconds": PACE_SECONDS, "brokers": 1}
    settings |= {"stores_not_measured": unmeasured()}
    return [
        Case(
            f"{store}, {what}, {rows:,} rows before",
            "the process: fetch, decode, rows, write, ledger" if what.startswith(PROCESS) else "writing rows, durably",
            settings | {"store": store, "rows_before": rows},
            found,
        )
        for (store, what, rows), found in runs.items()
    ]


STORE_BOUND: Final = (
    "ledger, sums per second and what a duplicate needs, in the transaction: see docs/performance/sink.md"
)
PROCESS_BOUND: Final = (
    "one interpreter: fetching, decoding and making rows take turns with the writing thread, so that rates suffer "
    "first where processors are busy with other things"
)


def targets_of(runs: Mapping[tuple[str, str, int], Sequence[Run]]) -> list[Target]:
    """Each store beside its bare upsert of the same events, as many a transaction; and the process beside the same."""
    found = []
    for store, what, rows in runs:
        scene = next((each for each in SCENES if what == f"{OURS}, {each.name}" and not each.statuses), None)
        of = f"sink → {store}, {rows:,} rows before"
        if scene is not None:
            bare = runs[store, f"{BARE}, {scene.name}", rows]
            found.append(_target(f"{of}, {scene.name}: store.write", runs[store, what, rows], bare, STORE_BOUND))
        if what == f"{PROCESS}, backlog":
            bare = runs[store, f"{BARE}, {LARGE.name}", rows]
            found.append(_target(f"{of}: whole process", runs[store, what, rows], bare, PROCESS_BOUND))
            ratio = _median(bare, "cpu_us_per_event") / _median(runs[store, what, rows], "cpu_us_per_event")
            name = f"{of}: CPU of a bare upsert ÷ whole process"
            found.append(Target(name, ratio, GOAL, Goal.AT_LEAST, PROCESS_BOUND))
    return found


def _target(name: str, ours: Sequence[Run], bare: Sequence[Run], bound: str) -> Target:
    ratio = _median(ours, "events_per_second") / _median(bare, "events_per_second")
    return Target(f"{name} ÷ bare upsert", ratio, GOAL, Goal.AT_LEAST, bound)


def _median(runs: Sequence[Run], figure: str) -> float:
    return float(statistics.median(getattr(run, figure) for run in runs))


COLUMNS: Final = {
    "events_per_second": "rows/s",
    "cpu_us_per_event": "CPU µs/row",
    "bytes_per_event": "bytes/event",
    "transactions_per_1000_events": "transactions/1,000",
    "waited_p50_ms": "waited 50 %, ms",
    "waited_p99_ms": "99 %",
}
WIDTH: Final = 150


def show(cases: Sequence[Case], console: Console) -> None:
    """Medians, and the spread of the first two."""
    table = Table("", *COLUMNS.values(), title="sink", box=None)
    for case in cases:
        table.add_row(case.name, *(_cell(case, name) for name in COLUMNS))
    console.print(table)
    for name, why in unmeasured().items():
        console.print(f"{name}: not measured: {why}")


def _cell(case: Case, figure: str) -> str:
    if not hasattr(case.runs[0], figure) and figure not in case.runs[0].extra:
        return ""
    spread, digits = case.spread(figure), 1 if "us_per" in figure or "per_1000" in figure else 0
    median, lowest, highest = (f"{value:,.{digits}f}" for value in (spread.median, spread.lowest, spread.highest))
    return f"{median} ({lowest}-{highest})" if figure in list(COLUMNS)[:2] else median


@click.command()
@click.option("--existing", type=click.IntRange(0), multiple=True, help="Rows before, instead of 0 and 1,000,000.")
@click.option("--quick", is_flag=True, help="Small stores, two rounds: shows that all works, measures roughly.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(existing: Sequence[int], quick: bool, json_path: Path | None) -> None:
    """Measure every durable store of the product, and the sink process on it."""
    extent = QUICK if quick else FULL
    if existing:
        extent = replace(extent, existing=existing)
    console = Console(width=WIDTH)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), refresh_per_second=1, transient=True)
    with tempfile.TemporaryDirectory(prefix="bems-sink-") as folder, progress as bar:
        bench = Bench(extent, Path(folder), bar)
        bench.run()
    cases, targets = cases_of(bench.runs), targets_of(bench.runs)
    show(cases, console)
    for target in targets:
        console.print(f"{target.name}: {target.value:.2f}, goal {target.goal}: {'met' if target.met else 'MISSED'}")
    if json_path is not None:
        write_report(json_path, cases, targets)


if __name__ == "__main__":
    main()
