"""How much one request, and all requests together, may ask of the gateway.

Not here: what a refused sender is told (problems.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request, and of everything in flight. ValueError when one request alone could not get in."""

    body_bytes: int = 4 * 1024 * 1024
    batch_events: int = 1000
    in_flight_events: int = 50_000
    in_flight_bytes: int = 256 * 1024 * 1024
    body_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if min(self.body_bytes, self.batch_events) < 1 or self.body_timeout_seconds <= 0:
            raise ValueError("limits start at 1; give a larger one")
        if self.in_flight_events < self.batch_events:
            raise ValueError(f"{self.in_flight_events} events in flight are fewer than a batch of {self.batch_events}")
        if self.in_flight_bytes < self.body_bytes:
            raise ValueError(f"{self.in_flight_bytes} bytes in flight are fewer than a body of {self.body_bytes}")


class InFlight:
    """What is being read or awaits the broker, over all requests. Belongs to one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.events = 0
        self.bytes = 0

    def take(self, events: int, size_bytes: int) -> bool:
        """Take room, or False without taking any when there is too little."""
        limits = self._limits
        if self.events + events > limits.in_flight_events or self.bytes + size_bytes > limits.in_flight_bytes:
            return False
        self.events += events
        self.bytes += size_bytes
        return True

    def give_back(self, events: int, size_bytes: int) -> None:
        """Return what was taken."""
        self.events -= events
        self.bytes -= size_bytes


class Ticket:
    """What one request holds. Give it back whatever happens."""

    __slots__ = ("_events", "_room", "_size_bytes")

    def __init__(self, room: InFlight) -> None:
        self._room = room
        self._events = 0
        self._size_bytes = 0

    def add_bytes(self, size_bytes: int) -> bool:
        """Room for more of the body; False when the gateway is full."""
        taken = self._room.take(0, size_bytes)
        self._size_bytes += size_bytes * taken
        return taken

    def add_events(self, events: int) -> bool:
        """Room for events that await the broker; False when the gateway is full."""
        taken = self._room.take(events, 0)
        self._events += events * taken
        return taken

    def give_back(self) -> None:
        """The request is over."""
        self._room.give_back(self._events, self._size_bytes)
        self._events = self._size_bytes = 0
