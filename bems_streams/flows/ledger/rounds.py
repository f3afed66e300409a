"""Verifies for ever: what is new on every look, everything older in turn, as far as the time of one look goes.

Not here: one verification (reconcile.py), metrics and logs (cli/ledger_watch.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bems_streams.flows.ledger.findings import Finding, Kind, Reconciliation
from bems_streams.flows.reconcile import Reconciler
from bems_streams.ports import MINUTE_US, Clock

BUDGET_US: Final = 20_000_000
SLICE_US: Final = 10 * MINUTE_US
"""At the peak rate, recounting a minute takes a core about a third of a second."""
COMMAND: Final = "run: bems ledger verify"


@dataclass(frozen=True, slots=True)
class Standing:
    """All that the newest look at each slice of time found. `whole_us`: all were looked at since then; 0: not yet."""

    looks: Sequence[Reconciliation] = ()
    verified_us: int = 0
    whole_us: int = 0

    @property
    def findings(self) -> Iterator[Finding]:
        """Everything that is listed by name."""
        return (found for look in self.looks for found in look.findings)

    def count(self, kind: Kind, agent: str | None = None, topic: str | None = None) -> int:
        """Records of this kind of finding."""
        return sum(look.count(kind, agent, topic) for look in self.looks)

    @property
    def reason(self) -> str | None:
        """What is wrong, in one line, with the command that names it; None when the ledger is closed."""
        if all(look.closed for look in self.looks):
            return None
        wrong = [f"{count:,} {text}" for kind, text in _TEXTS.items() if (count := self.count(kind))]
        return f"the ledger is not closed: {', '.join(wrong) or 'a control total differs'}; {COMMAND}"


_TEXTS: Final = {
    Kind.MISSING: "events missing",
    Kind.OVERDUE: "events overdue",
    Kind.UNRECORDED: "ranges without a ledger entry",
    Kind.MISCOUNTED: "miscounted",
    Kind.CHANGED: "amounts changed",
    Kind.LOG_LOST: "offsets lost by the broker",
}


class Rounds:
    """Call `look` again and again. Blocking. LogUnavailableError, StoreUnavailableError: nothing new is known."""

    def __init__(
        self, reconciler: Reconciler, clock: Clock, stopping: Callable[[], bool], budget_us: int = BUDGET_US
    ) -> None:
        self._reconciler = reconciler
        self._clock = clock
        self._stopping = stopping
        self._budget_us = budget_us
        self._older: dict[int, Reconciliation] = {}

    def look(self) -> Standing:
        """The newest minutes; then older slices of the log, at least one, those not seen for longest first."""
        began_us = self._clock.now_us()
        edge_us = began_us - began_us % SLICE_US - SLICE_US
        recent = self._reconciler.verify(edge_us)
        oldest_us = self._reconciler.oldest_us()
        slices = range(oldest_us - oldest_us % SLICE_US, edge_us, SLICE_US)
        self._older = {start_us: look for start_us, look in self._older.items() if start_us in slices}
        older_us = self._clock.now_us()  # however long the newest minutes take, the others get on
        for start_us in sorted(slices, key=self._looked_at):
            if self._stopping() or self._clock.now_us() - older_us > self._budget_us:
                break
            self._older[start_us] = self._reconciler.verify(start_us, start_us + SLICE_US)
        whole_us = min(map(self._looked_at, slices), default=began_us)
        return Standing([recent, *self._older.values()], began_us, whole_us)

    def _looked_at(self, start_us: int) -> int:
        look = self._older.get(start_us)
        return 0 if look is None else look.verified_us
