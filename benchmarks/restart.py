"""How long a tracker that was killed is missed: from `kill -9` under load to the first offset its successor commits.

A real worker with a name of its own (a static member of its group) and a warm disk, started again at once.
Run `python -m benchmarks.restart [--quick] [--json FILE]`. Not here: an empty disk (recovery.py).
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click
import httpx
import psutil
from confluent_kafka import Producer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bems_streams.adapters.kafka_group import KafkaGroup
from bems_streams.adapters.kafka_producer import ProducerConfig
from bems_streams.local.ports import free_ports
from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec
from benchmarks.cluster import Cluster, cluster
from benchmarks.feed import Feed
from benchmarks.figures import Case, Goal, Run, Target, write_report
from benchmarks.tracker_process import AGENT, GROUP, places_of

GOAL_SECONDS: Final = 3.0
RATE: Final = 500
FIRST_SECONDS: Final = 5.0
"""Of load before the first kill, so that there are states on disk."""

GIVE_UP_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.01
TAIL_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Plan:
    """How often to kill it."""

    runs: int


FULL: Final = Plan(7)
QUICK: Final = Plan(2)


class Load:
    """Events into the stage topics at a steady rate, for the length of a block."""

    def __init__(self, running: Cluster) -> None:
        self._producer = Producer(ProducerConfig(running.bootstrap, "bems-load").librdkafka())
        self._topics = running.catalogue.stage_topics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="load")

    def _feed(self) -> None:
        for place, (stage, key, value) in enumerate(Feed(10**9, 1)):
            self._producer.produce(self._topics[stage], value, key)
            if place % 10 == 0 and self._stop.wait(10 / RATE):
                return
            self._producer.poll(0)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(30)


class NamedTracker:
    """A worker that keeps its disk and its name from one process to the next."""

    def __init__(self, running: Cluster, spawner: ProcessSpawner) -> None:
        (port,) = free_ports(1)
        self._ready_url = f"http://127.0.0.1:{port}/readyz"
        self._log = running.folder / "tracker.log"
        self._worker = ManagedProcess(self._spec(running, port), spawner)
        self._group = KafkaGroup(running.bootstrap, GROUP, options={"isolation.level": "read_uncommitted"})
        self._places = places_of(running.catalogue)

    def _spec(self, running: Cluster, port: int) -> ProcessSpec:
        options = ["--bootstrap", running.bootstrap, "--instance", "tracker-0", "--health-port", str(port)]
        command = [sys.executable, "-m", "bems_streams", "worker", AGENT, *options]
        env = {"BEMS_STATE_DIR": str(running.folder), "BEMS_LOG_LEVEL": os.environ.get("BEMS_LOG_LEVEL", "INFO")}
        return ProcessSpec(AGENT, command, self._log, env, Path(__file__).parents[1])

    def start(self) -> psutil.Process:
        """Start the next process."""
        return psutil.Process(self._worker.start())

    def kill(self) -> None:
        """SIGKILL; returns once it is gone."""
        self._worker.kill()

    def committed(self) -> int:
        """Events whose offsets are committed, all partitions together."""
        return sum(self._group.committed(self._places).values())

    def passed(self, events: int) -> bool:
        """Whether more than that many events are committed."""
        return self.committed() > events

    def ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return httpx.get(self._ready_url, trust_env=False, timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def until(self, condition: Callable[[], bool]) -> float:
        """Wait; the moment at which it held. ClickException after two minutes, or when the process has ended."""
        end = time.monotonic() + GIVE_UP_SECONDS
        while not condition():
            if time.monotonic() > end or self._worker.pid is None:
                tail = self._log.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:]
                raise click.ClickException(f"the tracker does not go on: {tail}")
            time.sleep(LOOK_SECONDS)
        return time.perf_counter()

    def close(self) -> None:
        """Stop it and release connections."""
        self._worker.stop(30.0)
        self._group.close()


@contextmanager
def named_tracker(running: Cluster) -> Iterator[NamedTracker]:
    """Not started yet; stopped at the end."""
    with ExitStack() as held:
        spawner = ProcessSpawner()
        held.callback(spawner.close)
        tracker = NamedTracker(running, spawner)
        held.callback(tracker.close)
        yield tracker


def kill_once(tracker: NamedTracker) -> Run:
    """Kill it, start it again, wait until it has committed something."""
    killed = time.perf_counter()
    tracker.kill()
    before = tracker.committed()
    process = tracker.start()
    ready = tracker.until(tracker.ready)
    first = tracker.until(partial(tracker.passed, before))
    times = process.cpu_times()
    extra = {"to_first_commit_seconds": first - killed, "to_ready_seconds": ready - killed}
    return Run(1, first - killed, times.user + times.system, process.memory_info().rss, extra)


def measure(plan: Plan, bar: Progress) -> Case:
    """All runs against one broker, under load throughout."""
    work = bar.add_task("starting", total=plan.runs)
    runs: list[Run] = []
    with cluster() as running, named_tracker(running) as tracker, Load(running):
        tracker.start()
        tracker.until(partial(tracker.passed, round(RATE * FIRST_SECONDS)))
        for _ in range(plan.runs):
            bar.update(work, description="kill -9 and start again")
            runs.append(kill_once(tracker))
            tracker.until(partial(tracker.passed, tracker.committed() + RATE))
            bar.advance(work)
    settings = {"events_per_second": RATE, "partitions": running.catalogue.partitions, "session_seconds": 10}
    return Case("tracker killed, warm disk", "kill -9 to the first offset committed by its successor", settings, runs)


def targets(case: Case) -> Sequence[Target]:
    """One."""
    cpu_seconds = case.spread("cpu_us_per_event").median / 1e6
    bounded_by = f"{cpu_seconds:.2f} s of CPU in the new process, most of it imports; then the group and its offsets"
    value = case.spread("to_first_commit_seconds").median
    name = "kill -9 of a tracker to processing again, warm disk, s"
    return [Target(name, value, GOAL_SECONDS, Goal.AT_MOST, bounded_by)]


def show(case: Case, results: Sequence[Target], console: Console) -> None:
    """One line per figure, one per target."""
    table = Table("kill -9 of a tracker, warm disk", "median", "spread")
    for name in ("to_ready_seconds", "to_first_commit_seconds"):
        spread = case.spread(name)
        table.add_row(name, f"{spread.median:.2f}", f"{spread.lowest:.2f} to {spread.highest:.2f}")
    cpu = case.spread("cpu_us_per_event")
    table.add_row("CPU until then, s", f"{cpu.median / 1e6:.2f}", f"{cpu.lowest / 1e6:.2f} to {cpu.highest / 1e6:.2f}")
    console.print(table)
    for target in results:
        verdict = "met" if target.met else f"missed ({target.bounded_by})"
        console.print(f"{target.name}: {target.value:.2f}, {target.direction} {target.goal:g}: {verdict}")


@click.command()
@click.option("--quick", is_flag=True, help="Two kills: shows that it works, measures roughly.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(quick: bool, json_path: Path | None) -> None:
    """Measure with a broker and a tracker of its own."""
    with Progress(console=Console(stderr=True)) as bar:
        case = measure(QUICK if quick else FULL, bar)
    results = targets(case)
    show(case, results, Console())
    if json_path is not None:
        write_report(json_path, [case], results)


if __name__ == "__main__":
    main()
