"""A real `bems worker tracker` on an empty disk, for the length of a block, with what a benchmark asks about it.

Not here: what is measured with it (tracker.py, tracker_rate.py).
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import click
import httpx
import psutil
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin
from bems_streams.adapters.kafka_group import KafkaGroup
from bems_streams.local.ports import free_ports
from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec
from bems_streams.runtime.positions import log_ends
from bems_streams.topics import Catalogue

AGENT: Final = "tracker"
GROUP: Final = f"bems-{AGENT}"
ANSWER_SECONDS: Final = 30.0
READY_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0
TAIL_CHARACTERS: Final = 2000
WARMING_UP: Final = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


def places_of(catalogue: Catalogue) -> list[tuple[str, int]]:
    """Every partition of every stage topic."""
    return [(topic, number) for topic in catalogue.stage_topics.values() for number in range(catalogue.partitions)]


def forget(bootstrap: str, catalogue: Catalogue) -> None:
    """Make the cluster as if no tracker had ever run: no offsets of its group, an empty changelog."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    changelog = catalogue.changelog_topic(AGENT)
    _done(lambda: admin.delete_consumer_groups([GROUP])[GROUP], KafkaError.GROUP_ID_NOT_FOUND)
    _done(lambda: admin.delete_topics([changelog])[changelog], KafkaError.UNKNOWN_TOPIC_OR_PART)
    topics = KafkaTopicAdmin(bootstrap, ANSWER_SECONDS)
    end = time.monotonic() + ANSWER_SECONDS
    while changelog in topics.names():
        if time.monotonic() > end:
            raise click.ClickException(f"{changelog} was deleted, but is still there after {ANSWER_SECONDS:g} s")
        time.sleep(0.1)
    topics.create([spec for spec in catalogue.topics() if spec.name == changelog])


def _done(ask: Callable[[], "Future[Any]"], tolerated: int) -> None:
    """A broker that has just started does not coordinate groups at once: asked again until the deadline."""
    end = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            ask().result(ANSWER_SECONDS)
        except KafkaException as error:
            code = error.args[0].code()
            if code == tolerated:
                return
            if code not in WARMING_UP or time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


class TrackerProcess:
    """Use as `with TrackerProcess(…) as tracker:`. `checkout`: a folder with another version of this repository."""

    def __init__(self, bootstrap: str, catalogue: Catalogue, checkout: Path | None = None) -> None:
        self._bootstrap = bootstrap
        self._catalogue = catalogue
        self._checkout = checkout
        self._held = ExitStack()
        self.peak_rss_bytes = 0

    def __enter__(self) -> Self:
        self._folder = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="bems-tracker-")))
        self._ledger_before = self._ledger_ends()
        (port,) = free_ports(1)
        self._url = f"http://127.0.0.1:{port}"
        self.group = KafkaGroup(self._bootstrap, GROUP, options={"isolation.level": "read_uncommitted"})
        self._held.callback(self.group.close)
        spawner = ProcessSpawner()
        self._held.callback(spawner.close)
        self._worker = ManagedProcess(self._spec(port), spawner)
        self._worker.start()
        self._held.callback(self._worker.stop, STOP_SECONDS)
        assert self._worker.pid is not None
        self._process = psutil.Process(self._worker.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _spec(self, port: int) -> ProcessSpec:
        catalogue = self._catalogue
        command = [sys.executable, "-m", "bems_streams", "worker", AGENT, "--bootstrap", self._bootstrap]
        env = {
            "BEMS_PARTITIONS": str(catalogue.partitions),
            "BEMS_REPLICATION": str(catalogue.replication),
            "BEMS_MIN_INSYNC_REPLICAS": str(catalogue.min_insync_replicas),
            "BEMS_STATE_DIR": str(self._folder),
            "BEMS_LOG_LEVEL": os.environ.get("BEMS_LOG_LEVEL", "WARNING"),
        }
        cwd = self._checkout or Path(__file__).parents[1]
        return ProcessSpec(AGENT, [*command, "--health-port", str(port)], self._folder / "log", env, cwd)

    def await_ready(self) -> None:
        """Return once it owns its partitions: it fetches from then on."""
        end = time.monotonic() + READY_SECONDS
        with httpx.Client(base_url=self._url, trust_env=False, timeout=5) as client:
            while time.monotonic() < end and self._worker.pid is not None:
                try:
                    if client.get("/readyz").status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass  # its port is not open yet
                time.sleep(0.02)
        raise click.ClickException(f"the tracker did not become ready: {self.log_tail()}")

    def cpu_seconds(self) -> float:
        """User and system time since the process began; also looks at its memory. ClickException when it has ended."""
        try:
            with self._process.oneshot():
                times = self._process.cpu_times()
                self.peak_rss_bytes = max(self.peak_rss_bytes, self._process.memory_info().rss)
        except psutil.NoSuchProcess as error:
            raise click.ClickException(f"the tracker ended: {self.log_tail()}") from error
        return float(times.user + times.system)

    def transactions(self) -> float:
        """Transactions so far that said something of the busiest partition: each has one document and one marker there.

        In a backlog, where transactions hold records of all partitions, that is all of them.
        """
        return max(end - self._ledger_before[place] for place, end in self._ledger_ends().items()) / 2

    def _ledger_ends(self) -> dict[tuple[str, int], int]:
        places = [(self._catalogue.ledger_topic, number) for number in range(self._catalogue.partitions)]
        ends = log_ends({"bootstrap.servers": self._bootstrap}, places, ANSWER_SECONDS)
        return {place: end for place, (_, end) in ends.items()}

    def log_tail(self) -> str:
        """The end of what it said."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-TAIL_CHARACTERS:]
