"""Does to a cell of real processes what faults ask for (verbs.py), and tells whether it is whole.

Not here: which fault does what (faults.py), when (engine.py).
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from bems_streams.local.addresses import role_of
from bems_streams.local.cell import Cell
from bems_streams.local.faulty_store import Troubles, ask_for
from bems_streams.local.prove.load_books import Control, read_counters, write_control
from bems_streams.local.prove.verbs import BROKER, STOP_SECONDS
from bems_streams.local.skewed_clock import set_offset
from bems_streams.local.supervisor import ChildState

ASK_SECONDS: Final = 3.0
BURST_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.25


class Cluster:
    """`Breakable` on a real cell. `store_control`, `clocks`, `load`: the files that troubles are asked for in.

    Thread-safe as long as faults that overlap act on different zones.
    """

    def __init__(self, cell: Cell, store_control: Path, clocks: Mapping[str, Path], load: Path) -> None:
        self.cell = cell
        self.ending = threading.Event()
        self._store_control = store_control
        self._clocks = clocks
        self._load = load
        self._troubles = Troubles()
        self._visitors: set[str] = set()

    def pause(self, seconds: float) -> None:
        """See Breakable."""
        self.ending.wait(seconds)

    def kill(self, name: str) -> None:
        """See Breakable."""
        if role_of(name) == BROKER:
            self._signal(name, signal.SIGKILL)
        else:
            self.cell.processes.kill(name)

    def freeze(self, name: str) -> None:
        """See Breakable."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """See Breakable."""
        self._signal(name, signal.SIGCONT)

    def lose(self, name: str) -> None:
        """See Breakable."""
        self.cell.lose_broker(_number(name))

    def regain(self, *names: str) -> None:
        """See Breakable."""
        running = self.cell.kafka.pids
        self.cell.regain_brokers(*(number for name in names if (number := _number(name)) not in running))

    def stop(self, name: str, deadline_seconds: float = STOP_SECONDS) -> None:
        """See Breakable."""
        self.cell.processes.stop(name, deadline_seconds)

    def start(self, name: str) -> None:
        """See Breakable."""
        status = next(status for status in self.cell.processes.statuses() if status.name == name)
        if status.state is ChildState.STOPPED:
            self.cell.processes.start_again(name)

    def restart(self, name: str) -> None:
        """See Breakable."""
        if role_of(name) == BROKER:
            self.cell.restart_broker(_number(name))
        else:
            self.stop(name)
            self.start(name)

    def wipe(self, name: str) -> None:
        """See Breakable."""
        shutil.rmtree(self.cell.state_of(name))

    def join(self, role: str) -> None:
        """See Breakable."""
        name, spec = f"{role}-visitor", self.cell.spec(f"{role}-0")
        command = list(spec.command)
        place = command.index("--instance")
        del command[place : place + 2]
        command[command.index("--health-port") + 1] = "0"
        if name in self._visitors:
            self.start(name)
        else:
            self._visitors.add(name)
            log = spec.log_path.with_name(f"{name}.log")
            self.cell.processes.start(replace(spec, name=name, command=command, log_path=log))

    def leave(self, role: str) -> None:
        """See Breakable."""
        self.stop(f"{role}-visitor")

    def store(self, change: Callable[[Troubles], Troubles]) -> None:
        """See Breakable."""
        self._troubles = change(self._troubles)
        ask_for(self._store_control, self._troubles)

    def clock(self, name: str, seconds: float) -> None:
        """See Breakable."""
        set_offset(self._clocks[name], seconds)

    def burst(self, control: Control) -> None:
        """See Breakable."""
        write_control(self._load, control)
        end = time.monotonic() + BURST_SECONDS
        while not self.ending.is_set():
            counters = read_counters(self._load)
            if counters is not None and counters.control == control:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"the load did not obey {control} within {BURST_SECONDS:g} s: see its log")
            self.pause(LOOK_SECONDS)

    @property
    def names(self) -> Sequence[str]:
        """See Breakable."""
        return [*self.cell.options.roles, *(f"{BROKER}-{number}" for number in range(1, self.brokers + 1))]

    @property
    def brokers(self) -> int:
        """See Breakable."""
        return self.cell.options.brokers

    def not_ready(self) -> Mapping[str, str]:
        """See Breakable."""
        return {**self.cell.addresses.not_ready(), **self._brokers_not_ready()}

    def await_ready(self, deadline_seconds: float, name: str = "") -> Mapping[str, str]:
        """See Breakable."""
        end = time.monotonic() + deadline_seconds
        while (missing := self._missing(name)) and time.monotonic() < end and not self.ending.is_set():
            self.pause(LOOK_SECONDS)
        return missing

    def _missing(self, name: str) -> Mapping[str, str]:
        if not name:
            return self.not_ready()
        return self._brokers_not_ready() if role_of(name) == BROKER else self.cell.addresses.not_ready([name])

    def _brokers_not_ready(self) -> Mapping[str, str]:
        silent = {f"{BROKER}-{number}": "does not serve" for number in self.cell.kafka.silent()}
        behind = self._behind()
        return silent if behind is None else {**silent, "brokers": behind}

    def _behind(self) -> str | None:
        """Partitions that not every broker has up to the end."""
        client = AdminClient({"bootstrap.servers": self.cell.kafka.bootstrap, "log_level": 0})
        try:
            topics = client.list_topics(timeout=ASK_SECONDS).topics.values()
        except KafkaException as error:
            return f"do not answer ({error.args[0].name()})"
        behind = sum(len(p.isrs) < len(p.replicas) for topic in topics for p in topic.partitions.values())
        return f"{behind} partitions are not on all of their brokers yet" if behind else None

    def _signal(self, name: str, number: signal.Signals) -> None:
        """To a process that is there; one that is being started again is hit next time."""
        pid = self.cell.kafka.pids.get(_number(name)) if role_of(name) == BROKER else self.cell.pid(name)
        if pid is not None:
            os.kill(pid, number)


def _number(broker: str) -> int:
    return int(broker.rpartition("-")[2])
