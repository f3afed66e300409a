"""From a seed: which fault happens when, to whom, for how long, how much of it. Pure: the same seed, the same plan.

Not here: what the kinds are (kinds.py), doing it (engine.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from bems_streams.local.addresses import role_of
from bems_streams.local.prove.kinds import KINDS, Kind, Zone

FIRST_SECONDS: Final = 5.0
BREATH_SECONDS: Final = (3.0, 8.0)  # between one fault's expected end and the next
LONGEST_GAP_SECONDS: Final = 30.0
OVERLAP_SHARE: Final = 0.2
OVERLAP_SECONDS: Final = (1.0, 4.0)  # after the start of the fault it joins
LAST_SECONDS: Final = 10.0  # before the end of the load


@dataclass(frozen=True, slots=True)
class Site:
    """What there is to break: processes by name, and how many brokers."""

    names: Sequence[str]
    brokers: int = 3
    session_seconds: float = 6.0

    def targets(self, kind: Kind) -> Sequence[str]:
        """Those that a fault of this kind can pick from."""
        brokers = [f"broker-{number}" for number in range(1, self.brokers + 1)]
        return [name for name in (*self.names, *brokers) if role_of(name) in kind.targets]

    def can(self, kind: Kind) -> bool:
        """Whether the kind makes sense here: it needs no target, or has one."""
        return not kind.targets or bool(self.targets(kind))


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come: not before `at_seconds` since the load began. `target`: a process, or empty."""

    number: int
    at_seconds: float
    kind: Kind
    target: str
    hold_seconds: float
    amount: float

    @property
    def busy_until_seconds(self) -> float:
        """When the cell is expected to be whole again."""
        return self.at_seconds + self.hold_seconds + self.kind.settle_seconds

    def describe(self) -> str:
        """One line for people."""
        parts = [
            f"{self.at_seconds:7.1f} s", f"{self.kind.name:16}", f"{self.target or '-':10}",
            f"for {self.hold_seconds:4.1f} s" if self.hold_seconds else " " * 10,
            f"amount {self.amount:g}" if self.amount else "",
        ]  # fmt: skip
        return "  ".join(parts).rstrip()


def make_plan(seed: int, minutes: float, site: Site, only: Sequence[str] = ()) -> Sequence[Planned]:
    """Faults in the order of their start. `only`: names of kinds; all by default. ValueError for an unknown name."""
    unknown = [name for name in only if name not in KINDS]
    if unknown:
        raise ValueError(f"there is no fault {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    kinds = [kind for kind in KINDS.values() if site.can(kind) and (not only or kind.name in only)]
    random = Random(seed)  # noqa: S311 - a plan is to be repeatable, not secret
    plan: list[Planned] = []
    at_seconds, end_seconds = FIRST_SECONDS, minutes * 60 - LAST_SECONDS
    for kind in _endless(kinds, random):
        if plan:
            at_seconds = _next_start(plan, kind, random)
        if plan and at_seconds >= end_seconds:
            return plan
        plan.append(_planned(len(plan) + 1, at_seconds, kind, site, random))
    return plan


def _endless(kinds: Sequence[Kind], random: Random) -> Iterator[Kind]:
    """Every kind once, in any order, then all again in another: none is left out while time allows."""
    while kinds:
        yield from random.sample(kinds, len(kinds))


def _next_start(plan: Sequence[Planned], kind: Kind, random: Random) -> float:
    """After what is under way; sometimes in the middle of it, where that makes sense. Never a long calm before it."""
    last = plan[-1]
    joins = random.random() < OVERLAP_SHARE and last.hold_seconds > 0.0
    alone = len(plan) == 1 or plan[-2].busy_until_seconds <= last.at_seconds
    if joins and alone and kind.zone.overlaps(last.kind.zone):
        return last.at_seconds + random.uniform(*OVERLAP_SECONDS)
    calm = max(planned.busy_until_seconds for planned in plan[-2:]) + random.uniform(*BREATH_SECONDS)
    if Zone.EVERYTHING in (kind.zone, last.kind.zone):
        return calm
    return max(last.at_seconds, min(calm, last.at_seconds + LONGEST_GAP_SECONDS))


def _planned(number: int, at_seconds: float, kind: Kind, site: Site, random: Random) -> Planned:
    hold_seconds = random.uniform(*kind.hold_seconds) + (site.session_seconds if kind.beyond_session else 0.0)
    targets = site.targets(kind)
    amount = random.uniform(*kind.amount)
    return Planned(
        number=number,
        at_seconds=round(at_seconds, 1),
        kind=kind,
        target=random.choice(targets) if targets else "",
        hold_seconds=round(hold_seconds, 1),
        amount=float(round(amount)) if amount >= 1.0 and kind.amount[0] >= 1.0 else round(amount, 4),
    )
