"""What faults may do to a cell, as a Protocol: tests break one in memory.

Not here: how (cluster.py), who does it (faults.py).
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Protocol

from bems_streams.local.faulty_store import Troubles
from bems_streams.local.prove.load_books import Control

BROKER = "broker"
STOP_SECONDS = 30.0


class Breakable(Protocol):
    """A running cell. Processes are named as in the plan: tracker-0, gateway-1, broker-3."""

    @property
    def names(self) -> Sequence[str]:
        """Every process, brokers last."""

    @property
    def brokers(self) -> int:
        """How many there are."""

    @property
    def ending(self) -> Event:
        """Set when the proof is cut short: long faults end early."""

    def pause(self, seconds: float) -> None:
        """Wait, or less when the proof is ending."""

    def kill(self, name: str) -> None:
        """SIGKILL; whoever keeps it starts it again."""

    def freeze(self, name: str) -> None:
        """SIGSTOP: it keeps its sockets and its beliefs."""

    def thaw(self, name: str) -> None:
        """SIGCONT."""

    def lose(self, name: str) -> None:
        """Kill a broker, and keep it down."""

    def regain(self, *names: str) -> None:
        """Start lost brokers, all at once; returns once they serve clients."""

    def stop(self, name: str, deadline_seconds: float = STOP_SECONDS) -> None:
        """SIGTERM, SIGKILL after the deadline; it stays down until `start`."""

    def start(self, name: str) -> None:
        """Start what `stop` ended; what runs stays as it is."""

    def restart(self, name: str) -> None:
        """Stop it in good order and start it again."""

    def wipe(self, name: str) -> None:
        """Lose the disk of a worker that is down."""

    def join(self, role: str) -> None:
        """One more worker of an agent, without a name in the group: it comes and goes by a rebalance."""

    def leave(self, role: str) -> None:
        """The additional worker goes, in good order."""

    def store(self, change: Callable[[Troubles], Troubles]) -> None:
        """Change what the store suffers from."""

    def clock(self, name: str, seconds: float) -> None:
        """Make a worker's clock wrong by so much; 0 makes it right."""

    def burst(self, control: Control) -> None:
        """Ask the load for a burst; returns once it has obeyed. TimeoutError."""

    def not_ready(self) -> Mapping[str, str]:
        """Who is not what it should be, with the reason; empty when the cell is whole."""

    def await_ready(self, deadline_seconds: float, name: str = "") -> Mapping[str, str]:
        """Wait until the cell is whole, or this process of it, or the proof is ending. Returns who is not ready then;
        all brokers are one: what one of them lacks, the others have to hand over.
        """
