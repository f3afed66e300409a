"""The folder of an embedded cluster: whose it is, who uses it now, and where each broker's files are.

Not here: what is in Kafka's own files; they are Kafka's.
"""

import base64
import fcntl
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_CARD: Final = "bems-kafka.json"
_LAYOUT: Final = 1


class EmbeddedKafkaError(Exception):
    """The embedded cluster cannot do what was asked. The message says what to do next."""


@dataclass(frozen=True, slots=True)
class ClusterCard:
    """What bems-kafka.json says of the data beside it."""

    kafka: str
    brokers: int
    cluster_id: str
    layout: int = _LAYOUT


@dataclass(frozen=True, slots=True)
class BrokerFolder:
    """The files of one broker."""

    path: Path

    @property
    def properties(self) -> Path:
        """Written anew at each start."""
        return self.path / "server.properties"

    @property
    def data(self) -> Path:
        """Kafka's own."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self.path / "kafka.log"

    @property
    def pid_file(self) -> Path:
        """There while the broker runs."""
        return self.path / "broker.pid"

    def running_pid(self) -> int | None:
        """The process that uses these files now, if any; a pid that went to another program does not count."""
        try:
            pid = int(self.pid_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None
        return pid if str(self.properties) in _command_line(pid) else None


def broker_folder(data_dir: Path, node: int) -> BrokerFolder:
    """The folder of broker `node` (from 1)."""
    return BrokerFolder(data_dir / f"broker-{node}")


def open_data_dir(data_dir: Path, kafka: str, brokers: int) -> ClusterCard:
    """The card of this folder, written when it is new. Refuses data of another Kafka version or cluster shape."""
    path = data_dir / _CARD
    wanted = ClusterCard(kafka, brokers, _new_cluster_id())
    if not path.exists():
        _refuse_foreign_files(data_dir)
        _write_durably(path, json.dumps(asdict(wanted), indent=2) + "\n")
        return wanted
    try:
        card = ClusterCard(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise EmbeddedKafkaError(
            f"{path} cannot be read ({error}). Restore it, or use another --data-dir; without it the data is not used."
        ) from error
    differences = [
        f"{name}: {has} there, {wants} here"
        for name, has, wants in (
            ("Kafka version", card.kafka, kafka),
            ("brokers", card.brokers, brokers),
            ("folder layout", card.layout, _LAYOUT),
        )
        if has != wants
    ]
    if differences:
        raise EmbeddedKafkaError(
            f"The data in {data_dir} belongs to another cluster ({'; '.join(differences)}). "
            "Start it with what wrote it, name another --data-dir, or delete that folder to begin empty."
        )
    return card


@contextmanager
def sole_use(data_dir: Path) -> Iterator[None]:
    """Hold the folder for this process. Refuses while another process holds it or a broker of it still runs."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "in-use.lock").open("a+")
    except OSError as error:
        raise EmbeddedKafkaError(
            f"The data folder {data_dir} cannot be used: {error}. Name another --data-dir."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise EmbeddedKafkaError(
                f"Kafka runs already on {data_dir} (started by process {lock.read().strip() or 'unknown'}). "
                "Use that one, stop it first, or name another --data-dir."
            ) from None
        _refuse_running_brokers(data_dir)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _refuse_running_brokers(data_dir: Path) -> None:
    pids = [pid for path in sorted(data_dir.glob("broker-*")) if (pid := BrokerFolder(path).running_pid())]
    if pids:
        raise EmbeddedKafkaError(
            f"A broker of {data_dir} still runs (process {', '.join(map(str, pids))}) though what started it is gone. "
            f"Stop it with  kill {' '.join(map(str, pids))}  and start again."
        )


def _refuse_foreign_files(data_dir: Path) -> None:
    if any(data_dir.glob("broker-*/data/*")):
        raise EmbeddedKafkaError(
            f"{data_dir} has brokers' data but no {_CARD}, so its Kafka version is unknown. "
            "Name another --data-dir, or delete that folder to begin empty."
        )


def _new_cluster_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _write_durably(path: Path, text: str) -> None:
    aside = path.with_suffix(".new")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def _command_line(pid: int) -> str:
    """The command of a process, empty when there is none."""
    proc = Path("/proc")
    if (proc / "self/cmdline").exists():
        try:
            return (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, timeout=10, check=False
    )
    return shown.stdout
