"""One broker process of the embedded cluster: its folder made ready, started, and asked whether it serves.

Not here: the cluster (kafka.py) and its settings (kafka_config.py).
"""

import logging
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bems_streams.local.kafka_config import JVM_OPTIONS, LOOPBACK, BrokerAddress, server_properties
from bems_streams.local.kafka_data import BrokerFolder, EmbeddedKafkaError
from bems_streams.local.kafka_dist import Distribution
from bems_streams.local.processes import ManagedProcess, ProcessSpawner, ProcessSpec

_log: Final = logging.getLogger(__name__)
_ANSWER_SECONDS: Final = 0.5
_FORMAT_SECONDS: Final = 60
_LOG_KEPT_BYTES: Final = 20_000_000
_TAIL_BYTES: Final = 64_000
_TAIL_LINES: Final = 12


class Broker:
    """Broker `address.node` of `cluster`."""

    def __init__(
        self,
        address: BrokerAddress,
        cluster: Sequence[BrokerAddress],
        folder: BrokerFolder,
        kafka: Distribution,
        spawner: ProcessSpawner,
    ) -> None:
        self.address = address
        self._cluster = cluster
        self._folder = folder
        self._log_starts_at = 0
        command = [str(kafka.java), *JVM_OPTIONS, "-cp", kafka.classpath, "kafka.Kafka", str(folder.properties)]
        self.process = ManagedProcess(ProcessSpec(f"kafka-{address.node}", command, folder.log), spawner)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid

    def write_properties(self) -> None:
        """Write server.properties for this start."""
        self._folder.path.mkdir(parents=True, exist_ok=True)
        text = server_properties(self.address.node, self._cluster, self._folder.data)
        self._folder.properties.write_text(text, encoding="ascii")

    def start(self) -> None:
        """Start the process; `serves` says when clients can use it."""
        log = self._folder.log
        if log.exists() and log.stat().st_size > _LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        self._log_starts_at = log.stat().st_size if log.exists() else 0
        self._folder.pid_file.write_text(f"{self.process.start()}\n", encoding="ascii")

    def forget_pid(self) -> None:
        """It does not run any more."""
        self._folder.pid_file.unlink(missing_ok=True)

    def serves(self, known_brokers: int) -> bool:
        """Whether it answers clients, asked at its own address, and knows that many brokers. Waits a moment for it."""
        client = AdminClient({"bootstrap.servers": f"{LOOPBACK}:{self.address.port}"}, logger=_silent())
        try:
            known = client.list_topics(timeout=_ANSWER_SECONDS).brokers
        except KafkaException as error:
            _log.debug("broker %d does not answer yet: %s", self.address.node, error)
            return False
        return len(known) >= known_brokers

    def check_alive(self) -> None:
        """Raise when its process has ended."""
        if self.process.exit_code is not None:
            raise self.failure(f"ended with code {self.process.exit_code}")

    def failure(self, what: str) -> EmbeddedKafkaError:
        """An error that shows the telling lines of its log since it was started."""
        lines = "\n".join(telling_lines(self._folder.log, self._log_starts_at))
        return EmbeddedKafkaError(
            f"Kafka broker {self.address.node} {what}. {self._folder.log} ends with:\n{lines}\n"
            "Mend what it names and start again; the data was not touched."
        )


def telling_lines(log: Path, starts_at: int) -> Sequence[str]:
    """The lines of a broker's log, from byte `starts_at` on, that most likely say why it failed."""
    if not log.exists():
        return ("(nothing was written)",)
    with log.open("rb") as file:
        file.seek(max(starts_at, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    telling = [line for line in lines if any(word in line for word in ("ERROR", "Exception", "Caused by", "Error:"))]
    return (telling or lines or ["(nothing was written)"])[-_TAIL_LINES:]


def format_storage(kafka: Distribution, cluster_id: str, folders: Sequence[BrokerFolder]) -> None:
    """Make each new broker's folder a member of the cluster; folders that are one already stay as they are."""
    new = [folder for folder in folders if not (folder.data / "meta.properties").exists()]
    with ThreadPoolExecutor(max_workers=len(folders)) as pool:
        list(pool.map(lambda folder: _format_one(kafka, cluster_id, folder), new))


def _format_one(kafka: Distribution, cluster_id: str, folder: BrokerFolder) -> None:
    tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config", str(folder.properties)]
    command = [str(kafka.java), *JVM_OPTIONS, "-cp", kafka.classpath, *tool]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedKafkaError(f"Java could not make {folder.data} ready: {error}. Try again.") from error
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL_LINES:])
        raise EmbeddedKafkaError(f"Kafka could not make {folder.data} ready, so it is not started. It said:\n{said}")


def _silent() -> logging.Logger:
    """For the client's complaints while the broker is not there yet."""
    logger = logging.getLogger("bems_streams.local.kafka.probe")
    logger.setLevel(logging.CRITICAL)
    return logger
