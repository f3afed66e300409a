"""A real broker with the topics of the catalogue, for one benchmark, gone when it ends.

    with cluster(partitions=8) as running:
        consumer = Consumer({"bootstrap.servers": running.bootstrap, ...})

Not here: a whole cell of processes (bems_streams/local/cell.py), filling topics (feed.py).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bems_streams.local.cell_topics import make_topics
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.topics import Catalogue, Overrides, load_catalogue


@dataclass(frozen=True, slots=True)
class Cluster:
    """`folder` is for whatever the benchmark keeps besides; it is removed at the end."""

    kafka: EmbeddedKafka
    catalogue: Catalogue
    folder: Path

    @property
    def bootstrap(self) -> str:
        """host:port of every broker, comma-separated."""
        return self.kafka.bootstrap

    @property
    def broker_pids(self) -> tuple[int, ...]:
        """For a Meter: what brokers use is reported apart from what is measured."""
        return tuple(self.kafka.pids.values())


@contextmanager
def cluster(*, partitions: int | None = None, brokers: Literal[1, 3] = 1) -> Iterator[Cluster]:
    """Start it and make the topics; with three brokers every record is on two of three before it is acknowledged.

    `partitions` of every topic; None: as the catalogue says. EmbeddedKafkaError when it cannot start.
    """
    overrides = Overrides(partitions=partitions, replication=brokers, min_insync_replicas=max(1, brokers - 1))
    catalogue = load_catalogue(overrides=overrides)
    with tempfile.TemporaryDirectory(prefix="bems-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with EmbeddedKafka(folder / "kafka", brokers=brokers) as kafka:
            make_topics(catalogue, kafka.bootstrap)
            yield Cluster(kafka, catalogue, folder)
