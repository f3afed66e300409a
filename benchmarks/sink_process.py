"""A real `bems worker sink` on a store of its own, from its first look at the topics until it has stored everything.

Not here: what is in the topics (feed.py), which stores there are (sink_store.py), what is compared (sink.py).
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import click
import httpx
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from bems_streams.adapters.kafka_producer import ProducerConfig
from bems_streams.adapters.stores import open_reader
from bems_streams.local.ports import free_ports
from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec
from bems_streams.ports import StoreReader
from benchmarks.cluster import Cluster
from benchmarks.feed import Feed, Shape
from benchmarks.figures import Run
from benchmarks.processes import Meter, Usage, only

GROUP: Final = "bems-sink"
ANSWER_SECONDS: Final = 30.0
STALL_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.02
TAIL_CHARACTERS: Final = 2000
SEND_EVERY: Final = 20
PAGE: Final = 50_000
REST_SECONDS: Final = 3.0
NOT_NOW: Final = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Stored(NamedTuple):
    """One event that is a row now."""

    sequence: int
    accepted_us: int
    stored_us: int


class SinkProcess:
    """Use as `with SinkProcess(…) as sink:`. It begins where no sink has been: the group of an earlier one is gone."""

    def __init__(self, running: Cluster, folder: Path, store_url: str) -> None:
        self._running = running
        self._folder = folder
        self._url = store_url
        self._held = ExitStack()

    def __enter__(self) -> Self:
        forget(self._running.bootstrap)
        (self._port,) = free_ports(1)
        self.reader: StoreReader = open_reader(self._url)
        self._held.callback(self.reader.close)
        spawner = ProcessSpawner()
        self._held.callback(spawner.close)
        self._worker = ManagedProcess(self._spec(), spawner)
        self._before = self.done()
        self._worker.start()
        self._held.callback(self._worker.stop, STOP_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _spec(self) -> ProcessSpec:
        catalogue = self._running.catalogue
        command = [sys.executable, "-m", "bems_streams", "worker", "sink", "--bootstrap", self._running.bootstrap]
        env = {
            "BEMS_PARTITIONS": str(catalogue.partitions),
            "BEMS_REPLICATION": str(catalogue.replication),
            "BEMS_MIN_INSYNC_REPLICAS": str(catalogue.min_insync_replicas),
            "BEMS_STATE_DIR": str(self._folder),
            "BEMS_STORE": self._url,
            "BEMS_LOG_LEVEL": os.environ.get("BEMS_LOG_LEVEL", "WARNING"),
        }
        command += ["--health-port", str(self._port)]
        return ProcessSpec("sink", command, self._folder / "log", env, Path(__file__).parents[1])

    def await_ready(self) -> None:
        """Return once it owns its partitions: it fetches from then on."""
        end = time.monotonic() + STALL_SECONDS
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False, timeout=5) as client:
            while time.monotonic() < end and self._worker.pid is not None:
                with suppress(httpx.TransportError):  # its port is not open yet
                    if client.get("/readyz").status_code == httpx.codes.OK:
                        return
                time.sleep(LOOK_SECONDS)
        raise click.ClickException(f"the sink did not become ready: {self._log_tail()}")

    def done(self) -> int:
        """Records that have a row of any kind."""
        counts = self.reader.counts()
        return counts.stored + counts.duplicates + counts.dead_lettered

    def await_done(self, records: int) -> None:
        """Return once that many are handled since it began. ClickException when none comes for two minutes."""
        done, moved = -1, time.monotonic()
        while (now := self.done() - self._before) < records:
            if now != done:
                done, moved = now, time.monotonic()
            if self._worker.pid is None or time.monotonic() - moved > STALL_SECONDS:
                raise click.ClickException(f"the sink stands at {done} of {records}: {self._log_tail()}")
            time.sleep(LOOK_SECONDS)

    def metered(self, work: Callable[[], None]) -> Usage:
        """What the process uses meanwhile."""
        assert self._worker.pid is not None, "it has ended"
        with Meter(only(self._worker.pid)) as meter:
            work()
        return meter.usage

    def stored_after(self, sequence: int) -> Sequence[Stored]:
        """Every event stored since."""
        found: list[Stored] = []
        while page := self.reader.stored_since(found[-1].sequence if found else sequence, PAGE):
            found += [Stored(*row) for row in page]
        return found

    def _log_tail(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:]


def forget(bootstrap: str) -> None:
    """The committed offsets of the group, once the broker has found out where it keeps those of groups."""
    admin, end = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3}), time.monotonic() + ANSWER_SECONDS
    while True:
        (deleted,) = admin.delete_consumer_groups([GROUP], request_timeout=ANSWER_SECONDS).values()
        try:
            deleted.result(ANSWER_SECONDS)
        except KafkaException as error:
            code = error.args[0].code()
            if code in NOT_NOW and time.monotonic() < end:
                time.sleep(LOOK_SECONDS)
                continue
            if code != KafkaError.GROUP_ID_NOT_FOUND:
                raise
        return


def drain(sink: SinkProcess, records: int) -> Run:
    """From the moment it owns its partitions until all is stored; `records` are in the topics."""
    newest = sink.reader.counts().stored
    sink.await_ready()

    def wait() -> None:
        sink.await_done(records)

    usage = sink.metered(wait)
    found = _transactions(sink.stored_after(newest))
    return Run(records, usage.seconds, usage.cpu_seconds, usage.peak_rss_bytes, found)


def hold(sink: SinkProcess, running: Cluster, rate: int, seconds: float, seed: int, handled: int) -> Run:
    """At a steady rate, on top of the `handled` records before. Its CPU includes that of waiting for the next event."""
    time.sleep(REST_SECONDS)
    newest, events = sink.reader.counts().stored, int(rate * seconds)

    def send() -> None:
        _send(running, rate, events, seed)
        sink.await_done(handled + events)

    usage = sink.metered(send)
    stored = sink.stored_after(newest)
    found = _transactions(stored) | _waited(stored)
    return Run(events, usage.seconds, usage.cpu_seconds, usage.peak_rss_bytes, found)


def _send(running: Cluster, rate: int, events: int, seed: int) -> None:
    config = ProducerConfig(running.bootstrap, "bems-feed", delivery_timeout_seconds=ANSWER_SECONDS)
    producer = Producer(config.librdkafka() | {"log_level": 3})
    topics, began = running.catalogue.stage_topics, time.perf_counter()
    for number, (stage, key, value) in enumerate(list(Feed(events, seed, Shape(copies=0.0)))):
        producer.produce(topics[stage], value, key)
        if not number % SEND_EVERY:
            producer.poll(0)
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
    if producer.flush(ANSWER_SECONDS):
        raise click.ClickException("the broker did not take all events: is the machine overloaded?")


def _transactions(stored: Sequence[Stored]) -> dict[str, float]:
    """Rows of one transaction say the same of when it was."""
    return {"transactions_per_1000_events": 1000 * len({row.stored_us for row in stored}) / len(stored)}


def _waited(stored: Sequence[Stored]) -> dict[str, float]:
    """From the broker's word that it has an event to the beginning of the transaction that stores it."""
    delays_ms = sorted((row.stored_us - row.accepted_us) / 1000 for row in stored)
    return {"waited_p50_ms": _rank(delays_ms, 50), "waited_p99_ms": _rank(delays_ms, 99)}


def _rank(ordered: Sequence[float], percent: int) -> float:
    return ordered[-(-len(ordered) * percent // 100) - 1]
