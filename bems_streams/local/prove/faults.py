"""How each kind of fault is done and undone, in terms of what can be done to a cell (verbs.py).

Undoing works whatever state the cell is in. Not here: when (engine.py), which kinds there are (kinds.py).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec

from bems_streams.local.addresses import role_of
from bems_streams.local.faulty_store import Refusals
from bems_streams.local.prove.load_books import Control
from bems_streams.local.prove.plan import Planned
from bems_streams.local.prove.verbs import BROKER, Breakable

STORM_SECONDS: Final = 3.0
FOR_EVER: Final = 0.05  # of the refused ones
HOT_WINDOW_SECONDS: Final = 60.0
READY_SECONDS: Final = 60.0

Act = Callable[[Breakable, Planned], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind, carried out. `recover` comes after the hold, or at the end of a proof that is cut short."""

    inject: Act
    recover: Act = lambda cluster, planned: None


def lost_brokers(planned: Planned, brokers: int) -> Sequence[str]:
    """The target, and those numbered after it, as many as planned."""
    first = int(planned.target.rpartition("-")[2])
    return [f"{BROKER}-{(first - 1 + more) % brokers + 1}" for more in range(round(planned.amount))]


def _kill(cluster: Breakable, planned: Planned) -> None:
    cluster.kill(planned.target)


def _freeze(cluster: Breakable, planned: Planned) -> None:
    cluster.freeze(planned.target)


def _thaw(cluster: Breakable, planned: Planned) -> None:
    cluster.thaw(planned.target)


def _lose(cluster: Breakable, planned: Planned) -> None:
    for name in lost_brokers(planned, cluster.brokers):
        cluster.lose(name)


def _regain(cluster: Breakable, planned: Planned) -> None:
    cluster.regain(*lost_brokers(planned, cluster.brokers))


def _wipe(cluster: Breakable, planned: Planned) -> None:
    cluster.stop(planned.target, 0.0)  # killed at once, with its table open
    cluster.wipe(planned.target)


def _start(cluster: Breakable, planned: Planned) -> None:
    cluster.start(planned.target)


def _store(**troubles: object) -> Act:
    return lambda cluster, _: cluster.store(lambda before: msgspec.structs.replace(before, **troubles))


def _slow(cluster: Breakable, planned: Planned) -> None:
    _store(slow_seconds=planned.amount)(cluster, planned)


def _refuse(cluster: Breakable, planned: Planned) -> None:
    """A share is refused once per process, and heals; a smaller one for ever, also after the fault."""
    refusals = Refusals(
        salt=f"fault-{planned.number}", share=planned.amount * (1 - FOR_EVER), for_ever=planned.amount * FOR_EVER
    )
    cluster.store(lambda before: msgspec.structs.replace(before, refuse=(*before.refuse, refusals)))


def _refuse_for_ever_only(cluster: Breakable, _: Planned) -> None:
    cluster.store(
        lambda before: msgspec.structs.replace(
            before, refuse=tuple(msgspec.structs.replace(refusals, share=0.0) for refusals in before.refuse)
        )
    )


def _late(cluster: Breakable, planned: Planned) -> None:
    _store(hot_window_seconds=HOT_WINDOW_SECONDS, late_share=planned.amount)(cluster, planned)


def _burst(what: str) -> Act:
    def inject(cluster: Breakable, planned: Planned) -> None:
        cluster.burst(msgspec.convert({"id": f"fault-{planned.number}", what: round(planned.amount)}, Control))

    return inject


def _ahead(cluster: Breakable, planned: Planned) -> None:
    cluster.clock(planned.target, planned.amount)


def _behind(cluster: Breakable, planned: Planned) -> None:
    cluster.clock(planned.target, -planned.amount)


def _right(cluster: Breakable, planned: Planned) -> None:
    cluster.clock(planned.target, 0.0)


def _storm(cluster: Breakable, planned: Planned) -> None:
    """Another worker joins and leaves, as often as planned: two rebalances each time, some before the last is done."""
    role = role_of(planned.target)
    for _ in range(round(planned.amount)):
        if cluster.ending.is_set():
            return
        with ExitStack() as held:
            cluster.join(role)
            held.callback(cluster.leave, role)
            cluster.pause(STORM_SECONDS)


def _roll(cluster: Breakable, _: Planned) -> None:
    """Each is back and ready before the next one goes."""
    for name in cluster.names:
        if cluster.ending.is_set():
            return
        cluster.restart(name)
        cluster.await_ready(READY_SECONDS, name)


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "kill-gateway": Fault(_kill),
        "kill-tracker": Fault(_kill),
        "kill-sink": Fault(_kill),
        "kill-broker": Fault(_kill),
        "kill-ledger": Fault(_kill),
        "freeze-gateway": Fault(_freeze, _thaw),
        "freeze-tracker": Fault(_freeze, _thaw),
        "freeze-sink": Fault(_freeze, _thaw),
        "freeze-broker": Fault(_freeze, _thaw),
        "lose-broker": Fault(_lose, _regain),
        "lose-two-brokers": Fault(_lose, _regain),
        "store-away": Fault(_store(away=True), _store(away=False)),
        "store-slow": Fault(_slow, _store(slow_seconds=0.0)),
        "store-refuses": Fault(_refuse, _refuse_for_ever_only),
        "store-late": Fault(_late, _store(hot_window_seconds=None)),
        "wipe-tracker": Fault(_wipe, _start),
        "poison": Fault(_burst("poison")),
        "duplicates": Fault(_burst("duplicates")),
        "reorder": Fault(_burst("reorder")),
        "clock-forward": Fault(_ahead, _right),
        "clock-back": Fault(_behind, _right),
        "rebalance-storm": Fault(_storm),
        "rolling-restart": Fault(_roll),
    }
)
"""What carries out each kind, by its name."""
