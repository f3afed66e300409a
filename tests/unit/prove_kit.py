"""What a proof acts on, in memory: a cell that notes what is done to it, and counts that a test sets."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bems_streams.local.faulty_store import Troubles
from bems_streams.local.prove.evidence import Finding, Totals, Verdict
from bems_streams.local.prove.kinds import KINDS
from bems_streams.local.prove.load_books import Control
from bems_streams.local.prove.plan import Planned
from bems_streams.local.prove.samples import Sample

NAMES = ("tracker-0", "tracker-1", "sink-0", "sink-1", "gateway-0", "gateway-1")


@dataclass
class FakeCluster:
    """State by process, as the verbs of prove/cluster.py change it. A pause ends at once."""

    names: Sequence[str] = (*NAMES, "broker-1", "broker-2", "broker-3")
    brokers: int = 3
    ending: threading.Event = field(default_factory=threading.Event)
    killed: list[str] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    most_down: int = 0
    wiped: list[str] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    visitors: list[str] = field(default_factory=list)
    clocks: dict[str, float] = field(default_factory=dict)
    bursts: list[Control] = field(default_factory=list)
    troubles: Troubles = field(default_factory=Troubles)
    paused: list[float] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Verbs that fail."""

    def pause(self, seconds: float) -> None:
        """Noted."""
        self.paused.append(seconds)

    def kill(self, name: str) -> None:
        """It comes back by itself."""
        self.killed.append(name)

    def freeze(self, name: str) -> None:
        """Until thawed."""
        if "freeze" in self.broken:
            raise OSError("no such process")
        self.frozen.add(name)

    def thaw(self, name: str) -> None:
        """It goes on."""
        self.frozen.discard(name)

    def lose(self, name: str) -> None:
        """Down until regained."""
        self.stop(name)

    def regain(self, *names: str) -> None:
        """Up."""
        self.down.difference_update(names)

    def stop(self, name: str, deadline_seconds: float = 30.0) -> None:
        """Down."""
        self.down.add(name)
        self.most_down = max(self.most_down, len(self.down))

    def start(self, name: str) -> None:
        """Up."""
        self.down.discard(name)

    def restart(self, name: str) -> None:
        """Down and up."""
        assert not self.waiting, "each is ready before the next one goes"
        self.waiting[name] = "starting"
        self.restarted.append(name)

    def wipe(self, name: str) -> None:
        """A disk in use cannot be wiped."""
        assert name in self.down
        self.wiped.append(name)

    def join(self, role: str) -> None:
        """Up."""
        self.visitors.append(f"{role} joins")

    def leave(self, role: str) -> None:
        """Down."""
        self.visitors.append(f"{role} leaves")

    def store(self, change: Callable[[Troubles], Troubles]) -> None:
        """Changed."""
        self.troubles = change(self.troubles)

    def clock(self, name: str, seconds: float) -> None:
        """Wrong by so much."""
        self.clocks[name] = seconds

    def burst(self, control: Control) -> None:
        """Obeyed at once."""
        self.bursts.append(control)

    def not_ready(self) -> Mapping[str, str]:
        """As a test says."""
        return dict(self.waiting)

    def await_ready(self, deadline_seconds: float, name: str = "") -> Mapping[str, str]:
        """What was restarted is ready once it was waited for."""
        self.waiting.pop(name, None)
        return self.not_ready()

    @property
    def whole(self) -> bool:
        """Nothing is left of any fault, but what is to be refused for ever."""
        lasting = replace_refusals(self.troubles)
        return not (self.frozen or self.down or any(self.clocks.values())) and lasting == Troubles()


def replace_refusals(troubles: Troubles) -> Troubles:
    """Without those that refuse nothing that would heal."""
    assert all(refusals.share == 0.0 for refusals in troubles.refuse)
    return Troubles(troubles.away, troubles.slow_seconds, (), troubles.hot_window_seconds, 1.0)


def planned(kind: str, target: str = "", at_seconds: float = 0.0, hold_seconds: float = 0.0, amount: float = 0.0,
            number: int = 1) -> Planned:  # fmt: skip
    """One fault of a plan, as a test needs it."""
    return Planned(number, at_seconds, KINDS[kind], target, hold_seconds, amount)


@dataclass
class FakeSamples:
    """The newest sample, as a test sets it."""

    latest: Sample = field(default_factory=lambda: Sample(accepted=100, stored=100))

    def behind(self, events: int) -> None:
        """So many accepted events have no outcome."""
        self.latest = self.latest._replace(accepted=self.latest.stored + events)


def verdict(missing: int = 0, findings: Sequence[Finding] = ()) -> Verdict:
    """What a judge says of a thousand events."""
    totals = Totals(acknowledged=1000, accepted=1000, stored=1000 - missing, missing=missing)
    counts: dict[str, int] = {}
    for found in findings:
        counts[found.guarantee] = counts.get(found.guarantee, 0) + 1
    return Verdict(totals, list(findings), counts)
