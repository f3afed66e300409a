"""A whole cell on one machine: a real broker and every role as processes of their own, supervised.

Not here: where they answer (addresses.py), what the cell is fed with, or what is shown of it (cli/demo.py).
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
from bems_streams.local.addresses import Addresses, role_of
from bems_streams.local.kafka import EmbeddedKafka, EmbeddedKafkaError
from bems_streams.local.processes import ProcessSpec
from bems_streams.local.supervisor import ChildStatus, RestartPolicy, Supervisor

logger = logging.getLogger(__name__)

ROLES: Final = ("tracker", "sink", "gateway", "console", "ledger")
AGENTS: Final = ("tracker", "sink")
WATCHED: Final = (*AGENTS, "ledger")
"""Whose readiness the console shows."""
STOP_ORDER: Final = ("gateway", "tracker", "sink", "ledger", "console")
STOP_SECONDS: Final = 30.0
BROKER_LOOK_SECONDS: Final = 0.5
RESTARTS: Final = RestartPolicy(first_seconds=0.2, longest_seconds=5.0, steady_seconds=30.0)
PROGRAM: Final = (sys.executable, "-m", "bems_streams")


@dataclass(frozen=True, slots=True)
class CellOptions:
    """How one cell on one machine is laid out. Everything it keeps is below `state_dir`.

    roles        the processes by name: a role, or several of one as tracker-0, tracker-1
    environment  for all of them; `environment_of` adds to it by name
    program      what every command line begins with
    """

    state_dir: Path
    catalogue: Path | None = None
    brokers: int = 1
    gateway_port: int | None = None
    console_port: int | None = None
    roles: Sequence[str] = ROLES
    time_scale: float = 1.0
    session_seconds: float = 6.0
    store_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    environment_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    program: Sequence[str] = PROGRAM

    def __post_init__(self) -> None:
        unknown = [name for name in self.roles if role_of(name) not in STOP_ORDER]
        if unknown:
            raise ValueError(f"a cell has no {', '.join(unknown)}: the roles are {', '.join(STOP_ORDER)}")

    @property
    def store(self) -> str:
        """URL of the store that all roles share."""
        return self.store_url or default_store_url(self.state_dir)


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
        self.addresses = Addresses.of(options.roles, {"gateway": options.gateway_port, "console": options.console_port})
        self._make_topics = make_topics
        self._on_change = on_change
        self._supervisor: Supervisor | None = None
        self._stopping = threading.Event()
        self._brokers = threading.Lock()  # one of them is started or stopped at a time
        self._lost: set[int] = set()
        self._keeper = threading.Thread(target=self._keep_brokers, name="broker-keeper", daemon=True)

    def start(self) -> None:
        """Broker, topics, then every role. On failure nothing is left running."""
        try:
            self.kafka.start()
            self._make_topics(self.kafka.bootstrap)
            self._supervisor = Supervisor(RESTARTS, self._on_change)
            for name in self.options.roles:
                self._supervisor.start(self.spec(name))
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
            self._supervisor.close(STOP_SECONDS, self._in_stop_order())
            self._supervisor = None
        self.kafka.stop()

    def _in_stop_order(self) -> Sequence[str]:
        return sorted(self.options.roles, key=lambda name: STOP_ORDER.index(role_of(name)))

    @property
    def processes(self) -> Supervisor:
        """The roles' processes; LookupError before start."""
        if self._supervisor is None:
            raise LookupError("the cell is not running: start() it first")
        return self._supervisor

    def pid(self, name: str) -> int | None:
        """The process of that name now; None while it is down."""
        return next(status.pid for status in self.processes.statuses() if status.name == name)

    def lose_broker(self, broker: int) -> None:
        """SIGKILL a broker (numbered from 1), and leave it dead until `regain_brokers`."""
        with self._brokers:
            self._lost.add(broker)
            self.kafka.kill(broker)

    def regain_brokers(self, *brokers: int) -> None:
        """Start lost brokers again, all at once; returns once they serve clients. EmbeddedKafkaError."""
        with self._brokers:
            self._lost.difference_update(brokers)
            self.kafka.restart(*brokers)

    def restart_broker(self, broker: int) -> None:
        """Stop a broker in good order, then start it again; returns once it serves clients. EmbeddedKafkaError."""
        with self._brokers:
            self.kafka.restart(broker)

    def spec(self, name: str) -> ProcessSpec:
        """How a process is started: the command that an operator would type."""
        options = self.options
        environment = {
            "BEMS_BOOTSTRAP": self.kafka.bootstrap,
            "BEMS_STATE_DIR": str(options.state_dir.absolute()),
            "BEMS_STORE": options.store,
            "BEMS_TIME_SCALE": repr(options.time_scale),
            **({} if options.catalogue is None else {"BEMS_CATALOGUE": str(options.catalogue.absolute())}),
            **options.environment,
            **options.environment_of.get(name, {}),
        }
        log = options.state_dir.absolute() / "logs" / f"{name}.log"
        return ProcessSpec(name, [*options.program, *self._arguments(name)], log, environment)

    def state_of(self, name: str) -> Path:
        """The folder in which an agent's process keeps its own state: a disk of its own, elsewhere."""
        return self.options.state_dir.absolute() / instance_of(name)

    def _arguments(self, name: str) -> list[str]:
        role, port = role_of(name), self.addresses.port(name)
        if role == "gateway":
            return ["gateway", "--port", port]
        if role == "console":
            watched = [part for url in self.addresses.of_roles(*WATCHED) for part in ("--watch", url)]
            return ["console", "--port", port, *watched]
        if role == "ledger":
            return ["ledger", "watch", "--health-port", port]
        session = ["--session-seconds", str(self.options.session_seconds)]
        return ["worker", role, "--instance", instance_of(name), "--health-port", port, *session]

    def _keep_brokers(self) -> None:
        while not self._stopping.wait(BROKER_LOOK_SECONDS):
            for broker in range(1, self.options.brokers + 1):
                with self._brokers:
                    self._keep(broker)

    def _keep(self, broker: int) -> None:
        if broker in self.kafka.pids or broker in self._lost or self._stopping.is_set():
            return
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


def instance_of(name: str) -> str:
    """The name that a worker keeps across restarts: a single one of its role is the first."""
    return f"{name}-0" if name == role_of(name) else name
