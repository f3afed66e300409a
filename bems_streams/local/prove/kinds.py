"""The kinds of faults: what each does, which guarantees it attacks, how long it lasts, what it must not overlap.

Not here: when they happen (plan.py), how they are done (faults.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

WORKERS: Final = ("tracker", "sink")


class Zone(StrEnum):
    """The part of the cell that a fault acts on: two in one zone never overlap, nor anything with EVERYTHING."""

    BROKERS = "brokers"
    GATEWAYS = "gateways"
    WORKERS = "workers"
    STORE = "store"
    EVENTS = "events"
    EVERYTHING = "everything"

    def overlaps(self, other: "Zone") -> bool:
        """Whether faults in these zones may be under way at the same time."""
        return self is not other and Zone.EVERYTHING not in (self, other)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    targets         roles (`brokers`: any broker) of which the plan picks one process; empty: none
    hold_seconds    from injection to recovery, at least and at most; with `beyond_session` this much more than a
                    worker's session lasts
    amount          how much of it, at least and at most: events, seconds of a clock, brokers; meaning is the fault's
    settle_seconds  about how long the cell takes to be whole again
    """

    name: str
    what: str
    guarantees: tuple[str, ...]
    zone: Zone
    targets: tuple[str, ...] = ()
    hold_seconds: tuple[float, float] = (0.0, 0.0)
    amount: tuple[float, float] = (0.0, 0.0)
    settle_seconds: float = 8.0
    beyond_session: bool = False


_ALL: Final[Sequence[Kind]] = (
    Kind("kill-gateway", "a gateway is killed (-9)", ("G1", "G2"), Zone.GATEWAYS, ("gateway",)),
    Kind("kill-tracker", "a tracker is killed (-9)", ("G3", "G5", "G10"), Zone.WORKERS, ("tracker",)),
    Kind("kill-sink", "a sink is killed (-9)", ("G2", "G1", "G10"), Zone.WORKERS, ("sink",)),
    Kind("kill-broker", "a broker is killed (-9) and comes back at once", ("G1", "G3"), Zone.BROKERS, ("broker",)),
    Kind(
        "freeze-tracker", "a tracker is stopped for longer than its session, then goes on: a zombie",
        ("G4", "G3", "G5"), Zone.WORKERS, ("tracker",), (2.0, 8.0), settle_seconds=12.0, beyond_session=True,
    ),
    Kind(
        "freeze-sink", "a sink is stopped for longer than its session, then goes on: a zombie",
        ("G4", "G2", "G10"), Zone.WORKERS, ("sink",), (2.0, 8.0), settle_seconds=12.0, beyond_session=True,
    ),
    Kind("freeze-gateway", "a gateway is stopped shortly", ("G1", "G2"), Zone.GATEWAYS, ("gateway",), (2.0, 8.0)),
    Kind("freeze-broker", "a broker is stopped shortly", ("G1", "G2"), Zone.BROKERS, ("broker",), (2.0, 8.0)),
    Kind(
        "lose-broker", "a broker is gone for a while", ("G1", "G3"), Zone.BROKERS, ("broker",), (8.0, 16.0),
        amount=(1, 1), settle_seconds=12.0,
    ),
    Kind(
        "lose-two-brokers", "two brokers of three are gone for a while", ("G6", "G1"), Zone.BROKERS, ("broker",),
        (6.0, 12.0), amount=(2, 2), settle_seconds=20.0,
    ),
    Kind("store-away", "the store answers nobody", ("G7", "G10"), Zone.STORE, hold_seconds=(8.0, 20.0)),
    Kind("store-slow", "every write takes longer", ("G7",), Zone.STORE, hold_seconds=(8.0, 16.0), amount=(0.5, 2.0)),
    Kind(
        "store-refuses", "the store refuses single records, some of them for ever", ("G8", "G10"), Zone.STORE,
        hold_seconds=(5.0, 10.0), amount=(0.002, 0.02),
    ),
    Kind(
        "store-late", "the store takes a share of old events only by its late way in", ("G8", "G10"), Zone.STORE,
        hold_seconds=(4.0, 8.0), amount=(0.05, 0.5),
    ),
    Kind(
        "wipe-tracker", "a tracker loses its disk while it is down", ("G3", "G5"), Zone.WORKERS, ("tracker",),
        (0.0, 4.0), settle_seconds=12.0,
    ),
    Kind("poison", "a burst that no agent can decode, straight to the topics", ("G9", "G8"), Zone.EVENTS,
         amount=(50, 400)),
    Kind("duplicates", "a burst of events sent before", ("G2",), Zone.EVENTS, amount=(200, 2000)),
    Kind("reorder", "a burst of events out of order", ("G3",), Zone.EVENTS, amount=(200, 2000)),
    Kind(
        "clock-forward", "a worker's clock runs ahead", ("G12", "G5"), Zone.WORKERS, WORKERS, (8.0, 15.0),
        amount=(60.0, 7200.0), settle_seconds=2.0,
    ),
    Kind(
        "clock-back", "a worker's clock falls back", ("G12", "G5"), Zone.WORKERS, WORKERS, (8.0, 15.0),
        amount=(60.0, 7200.0), settle_seconds=2.0,
    ),
    Kind(
        "rebalance-storm", "workers of one agent leave and join, one after the other", ("G4", "G3", "G2"),
        Zone.WORKERS, WORKERS, amount=(3, 5), settle_seconds=25.0,
    ),
    Kind(
        "kill-ledger", "the process that watches the ledger is killed (-9)", ("G10",), Zone.WORKERS, ("ledger",),
        settle_seconds=4.0,
    ),
    Kind(
        "rolling-restart", "everything is restarted in good order, one after the other, brokers too",
        ("G11", "G1", "G5"), Zone.EVERYTHING, settle_seconds=60.0,
    ),
)  # fmt: skip

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.name: kind for kind in _ALL})
"""Every kind by name."""
