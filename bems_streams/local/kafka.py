"""Real Apache Kafka on this machine, one broker or three, from Python packages alone.

Not here: fetching it (kafka_dist.py), its settings (kafka_config.py), its folder (kafka_data.py).
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bems_streams.local.download import KafkaFetchError, Progress
from bems_streams.local.kafka_broker import Broker, format_storage
from bems_streams.local.kafka_config import LOOPBACK, BrokerAddress
from bems_streams.local.kafka_data import EmbeddedKafkaError, broker_folder, open_data_dir, sole_use
from bems_streams.local.kafka_dist import Distribution, default_cache_dir, kafka_distribution
from bems_streams.local.ports import free_ports, port_is_free
from bems_streams.local.processes import ProcessSpawner, stop_all

__all__ = ["EmbeddedKafka", "EmbeddedKafkaError"]

START_SECONDS: Final = 120.0  # a busy machine; a broker that ends is noticed at once
STOP_SECONDS: Final = 20.0


class EmbeddedKafka:
    """A cluster whose data stays in `data_dir` between starts and whose brokers end with this process.

    `ports` are the brokers' client ports, free ones when None. `repository` and `cache_dir` say where Kafka comes from
    and is kept. Every failure is an EmbeddedKafkaError that says what to do next. Not thread-safe.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        brokers: int = 1,
        ports: Sequence[int] | None = None,
        progress: Progress | None = None,
        cache_dir: Path | None = None,
        repository: str | None = None,
    ) -> None:
        if brokers not in (1, 3):
            raise EmbeddedKafkaError(f"A cluster has 1 broker or 3, not {brokers}: two could not outvote one failure.")
        if ports is not None and len(set(ports)) != brokers:
            raise EmbeddedKafkaError(f"Name one port for each broker: {brokers} different ones, not {list(ports)}.")
        self._data_dir = data_dir.absolute()
        self._count = brokers
        self._given_ports = ports
        self._progress: Progress = progress or (lambda _: None)
        self._cache_dir = cache_dir or default_cache_dir()
        self._repository = repository
        self._brokers: Mapping[int, Broker] = {}
        self._held = contextlib.ExitStack()

    @property
    def bootstrap(self) -> str:
        """host:port of every broker, comma-separated. Known once started."""
        if not self._brokers:
            raise EmbeddedKafkaError("Kafka is not started yet: call start() first.")
        return ",".join(f"{LOOPBACK}:{broker.address.port}" for broker in self._brokers.values())

    @property
    def pids(self) -> Mapping[int, int]:
        """Process id of each broker (numbered from 1) that runs."""
        return {node: broker.pid for node, broker in self._brokers.items() if broker.pid is not None}

    def silent(self) -> Sequence[int]:
        """Brokers that do not answer clients now, or do not know all others. Waits a moment for each."""
        return [node for node, broker in self._brokers.items() if not broker.serves(self._count)]

    def start(self) -> None:
        """Return once every broker answers and knows all others. On failure nothing is left running."""
        if self._brokers:
            raise EmbeddedKafkaError("This Kafka is started already: stop() it before starting it again.")
        try:
            kafka = self._fetched()
            self._held.enter_context(sole_use(self._data_dir))
            card = open_data_dir(self._data_dir, kafka.version, self._count)
            spawner = ProcessSpawner()
            self._held.callback(spawner.close)
            folders = {node: broker_folder(self._data_dir, node) for node in range(1, self._count + 1)}
            cluster = self._addresses()
            self._brokers = {a.node: Broker(a, cluster, folders[a.node], kafka, spawner) for a in cluster}
            self._progress(f"starting Kafka {kafka.version}")
            for broker in self._brokers.values():
                broker.write_properties()
            format_storage(kafka, card.cluster_id, list(folders.values()))
            for broker in self._brokers.values():
                broker.start()
            self._await_ready(list(self._brokers.values()), known_brokers=self._count)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop every broker cleanly; after 20 s those that still run are killed. May be called at any time."""
        stop_all([broker.process for broker in self._brokers.values()], STOP_SECONDS, time.monotonic)
        for broker in self._brokers.values():
            broker.forget_pid()
        self._brokers = {}
        self._held.close()

    def kill(self, broker: int) -> None:
        """SIGKILL one broker, as a crash would; it is gone on return."""
        self._broker(broker).process.kill()
        self._broker(broker).forget_pid()

    def restart(self, *brokers: int) -> None:
        """Start brokers that were killed, or stop and start them, on their old ports; return once they serve clients.

        Several are started at once: two of three need each other to outvote the third.
        """
        found = [self._broker(broker) for broker in brokers]
        for broker in found:
            broker.process.stop(STOP_SECONDS)
            broker.start()
        self._await_ready(found, known_brokers=1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _fetched(self) -> Distribution:
        try:
            return kafka_distribution(self._cache_dir, self._progress, self._repository)
        except KafkaFetchError as error:
            raise EmbeddedKafkaError(str(error)) from error

    def _broker(self, node: int) -> Broker:
        if node not in self._brokers:
            raise EmbeddedKafkaError(f"There is no broker {node}; there are: {list(self._brokers) or 'none yet'}.")
        return self._brokers[node]

    def _addresses(self) -> Sequence[BrokerAddress]:
        ports = self._given_ports
        if ports is None:
            ports = free_ports(self._count)
        for port in ports:
            if not port_is_free(port):
                raise EmbeddedKafkaError(
                    f"Port {port} on {LOOPBACK} is taken. Stop the program that listens there, or give another port."
                )
        spare = [port for port in free_ports(2 * self._count) if port not in ports]
        return [BrokerAddress(n + 1, port, spare[n]) for n, port in enumerate(ports)]

    def _await_ready(self, brokers: Sequence[Broker], known_brokers: int) -> None:
        waiting = list(brokers)
        deadline = time.monotonic() + START_SECONDS
        while waiting:
            for broker in brokers:
                broker.check_alive()
            if time.monotonic() > deadline:
                raise waiting[0].failure(f"does not serve after {START_SECONDS:.0f} s")
            waiting = [broker for broker in waiting if not broker.serves(known_brokers)]
