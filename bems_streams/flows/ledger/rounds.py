"""Verifies for ever: what is new on every look, everything older in turn, as far as the time of one look goes.

Not here: one verification (reconcile.py), metrics and logs (cli/ledger_watch.py).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bems_streams.flows.ledger.findings import Finding, Kind, Reconciliation
from bems_streams.flows.reconcile import FOREVER_US, PROMISE_US, Look, Reconciler
from bems_streams.ports import MINUTE_US, Clock

BUDGET_US: Final = 6_000_000
SLICE_US: Final = 10 * MINUTE_US
"""At the peak rate, counting the rows of a slice takes a core less than a second, comparing their amounts about ten."""
COMPARING_SHARE: Final = 20
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
    """Call `look` again and again. Blocking. LogUnavailableError, StoreUnavailableError: nothing new is known.

    Rows are counted on every look, their amounts are compared once when everything of their minute is to be handled,
    and then in turn: a count is answered from an index, amounts are a row each.
    """

    def __init__(
        self, reconciler: Reconciler, clock: Clock, stopping: Callable[[], bool], budget_us: int = BUDGET_US
    ) -> None:
        self._reconciler = reconciler
        self._clock = clock
        self._stopping = stopping
        self._budget_us = budget_us
        self._compared_until_us = 0
        self._unproven_us = FOREVER_US
        self._older: dict[int, Reconciliation] = {}
        self._compared: dict[int, int] = {}
        self._compare_at_us = 0

    def look(self) -> Standing:
        """The newest minutes; then older slices of the log, at least one, those not seen for longest first."""
        began_us = self._clock.now_us()
        edge_us = began_us - began_us % SLICE_US - SLICE_US
        unproven_us = self._unproven_us
        newest = self._newest(edge_us, began_us)
        oldest_us = self._reconciler.oldest_us()
        slices = range(oldest_us - oldest_us % SLICE_US, edge_us, SLICE_US)
        self._older = {start_us: look for start_us, look in self._older.items() if start_us in slices}
        self._compared = {start_us: at_us for start_us, at_us in self._compared.items() if start_us in slices}
        self._count(slices, unproven_us)
        self._compare(slices)
        whole_us = min(map(self._looked_at, slices), default=began_us)
        return Standing([*newest, *self._older.values()], began_us, whole_us)

    def _newest(self, edge_us: int, began_us: int) -> Sequence[Reconciliation]:
        """Amounts from the first minute on that did not prove right yet, up to the newest that may still change."""
        settled_us = began_us - PROMISE_US
        settled_us -= settled_us % MINUTE_US
        since_us = min(max(edge_us, self._compared_until_us), settled_us)
        looks = [self._reconciler.verify(settled_us, look=Look.COUNTS)]
        if since_us > edge_us:
            looks.append(self._reconciler.verify(edge_us, since_us, look=Look.COUNTS))
        if since_us == settled_us:
            return looks
        compared = self._reconciler.verify(since_us, settled_us)
        if compared.closed:
            self._compared_until_us, self._unproven_us = settled_us, FOREVER_US
        else:
            self._unproven_us = since_us - since_us % SLICE_US
        return [*looks, compared]

    def _count(self, slices: range, unproven_us: int) -> None:
        """However long the newest minutes take, the others get on. Slices in which something was wrong are looked at
        whole, those among them that were the newest minutes a moment ago.
        """
        began_us = self._clock.now_us()
        for start_us in sorted(slices, key=self._looked_at):
            if self._stopping() or self._clock.now_us() - began_us > self._budget_us:
                break
            last = self._older.get(start_us)
            wrong = start_us >= unproven_us if last is None else not last.closed
            look = Look.SUSPICIOUS if wrong else Look.COUNTS
            self._older[start_us] = self._reconciler.verify(start_us, start_us + SLICE_US, look=look)

    def _compare(self, slices: range) -> None:
        """Amounts, those first that were compared longest ago: whenever it is one part in so many of the time."""
        began_us = self._clock.now_us()
        if began_us < self._compare_at_us:
            return
        for start_us in sorted(slices, key=lambda start_us: self._compared.get(start_us, 0)):
            now_us = self._clock.now_us()
            if self._stopping() or now_us - began_us > self._budget_us // COMPARING_SHARE:
                break
            self._older[start_us] = self._reconciler.verify(start_us, start_us + SLICE_US)
            self._compared[start_us] = now_us
        self._compare_at_us = began_us + COMPARING_SHARE * (self._clock.now_us() - began_us)

    def _looked_at(self, start_us: int) -> int:
        look = self._older.get(start_us)
        return 0 if look is None else look.verified_us
