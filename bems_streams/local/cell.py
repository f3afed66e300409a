"""A whole cell on one machine: a real broker and every role as a process of its own, supervised.

Not here: what it is fed with, or what is shown of it (cli/demo.py).
"""

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bems_streams.adapters.stores import default_store_url
from bems_streams.local.kafka import EmbeddedKafka, EmbeddedKafkaError
from bems_streams.local.ports import free_ports, port_is_free
from bems_streams.local.processes import ProcessSpec
from bems_streams.local.supervisor import ChildStatus, RestartPolicy, Supervisor

logger = logging.getLogger(__name__)

ROLES: Final = ("tracker", "sink", "gateway", "console")
STOP_ORDER: Final = ("gateway", "tracker", "sink", "console")
STOP_SECONDS: Final = 30.0
BROKER_LOOK_SECONDS: Final = 0.5
RESTARTS: Final = RestartPolicy(first_seconds=0.2, longest_seconds=5.0, steady_seconds=30.0)


@dataclass(frozen=True, slots=True)
class CellOptions:
    """How one cell on one machine is laid out. Everything it keeps is below `state_dir`."""

    state_dir: Path
    catalogue: Path | None = None
    brokers: int = 1
    gateway_port: int | None = None
    console_port: int | None = None
    roles: Sequence[str] = ROLES
    time_scale: float = 1.0
    session_seconds: float = 6.0
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a running cell answer, as URLs; `health` by role."""

    gateway: str
    console: str
    health: Mapping[str, str]


class Cell:
    """Starts and stops the processes; restarts those that end unasked, the broker included. Use as a context.

    `make_topics(bootstrap)` brings the broker's topics up to the catalogue: the composition root knows how.
    """

    def __init__(
        self,
        options: CellOptions,
        make_topics: Callable[[str], None],
        *,
        progress: Callable[[str], None] | None = None,
        on_change: Callable[[ChildStatus], None] | None = None,
    ) -> None:
        self.options = options
        self.kafka = EmbeddedKafka(options.state_dir / "kafka", brokers=options.brokers, progress=progress)
        self._make_topics = make_topics
        self._on_change = on_change
        self._supervisor: Supervisor | None = None
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep_brokers, name="broker-keeper", daemon=True)
        gateway, console, *health = _ports(options)
        self.addresses = Addresses(
            f"http://127.0.0.1:{gateway}",
            f"http://127.0.0.1:{console}",
            {role: f"http://127.0.0.1:{port}" for role, port in zip(("tracker", "sink"), health, strict=True)},
        )

    def start(self) -> None:
        """Broker, topics, then every role. On failure nothing is left running."""
        try:
            self.kafka.start()
            self._make_topics(self.kafka.bootstrap)
            self._supervisor = Supervisor(RESTARTS, self._on_change)
            for role in self.options.roles:
                self._supervisor.start(self.spec(role))
            self._keeper.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop taking events, finish what is in flight, then stop the broker."""
        self._stopping.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        if self._supervisor is not None:
            self._supervisor.close(STOP_SECONDS, [role for role in STOP_ORDER if role in self.options.roles])
            self._supervisor = None
        self.kafka.stop()

    @property
    def processes(self) -> Supervisor:
        """The roles' processes; LookupError before start."""
        if self._supervisor is None:
            raise LookupError("the cell is not running: start() it first")
        return self._supervisor

    def pid(self, role: str) -> int | None:
        """The role's process now; None while it is down."""
        return next(status.pid for status in self.processes.statuses() if status.name == role)

    def spec(self, role: str) -> ProcessSpec:
        """How a role is started: the command that an operator would type."""
        options = self.options
        command = [sys.executable, "-m", "bems_streams", *self._arguments(role)]
        environment = {
            "BEMS_BOOTSTRAP": self.kafka.bootstrap,
            "BEMS_STATE_DIR": str(options.state_dir.absolute()),
            "BEMS_STORE": default_store_url(options.state_dir),
            "BEMS_TIME_SCALE": repr(options.time_scale),
            **({} if options.catalogue is None else {"BEMS_CATALOGUE": str(options.catalogue.absolute())}),
            **options.environment,
        }
        return ProcessSpec(role, command, options.state_dir.absolute() / "logs" / f"{role}.log", environment)

    def _arguments(self, role: str) -> list[str]:
        if role == "gateway":
            return ["gateway", "--port", self.addresses.gateway.rpartition(":")[2]]
        if role == "console":
            watched = [part for address in self.addresses.health.values() for part in ("--watch", address)]
            return ["console", "--port", self.addresses.console.rpartition(":")[2], *watched]
        port = self.addresses.health[role].rpartition(":")[2]
        session = ["--session-seconds", str(self.options.session_seconds)]
        return ["worker", role, "--instance", f"{role}-0", "--health-port", port, *session]

    def _keep_brokers(self) -> None:
        while not self._stopping.wait(BROKER_LOOK_SECONDS):
            for broker in range(1, self.options.brokers + 1):
                if broker not in self.kafka.pids and not self._stopping.is_set():
                    logger.warning("broker %d is gone: starting it again", broker)
                    try:
                        self.kafka.restart(broker)
                    except EmbeddedKafkaError as error:
                        logger.warning("broker %d does not start yet: %s", broker, error)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _ports(options: CellOptions) -> list[int]:
    """Gateway, console, health of tracker and sink: what is asked for while it is free, else a free one."""
    spare = iter(free_ports(4))
    asked = (options.gateway_port, options.console_port, None, None)
    return [port if port is not None and port_is_free(port) else next(spare) for port in asked]
