"""Adds up what was accounted for: a line per place or minute, a control total per currency, exact to the last digit.

Not here: whether it is right (reconcile.py, spans.py, gaps.py).
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from typing import Final

from bems_streams.flows.ledger.findings import Finding, Findings, Grouping, Line, LineKey, Total
from bems_streams.ports import Span, Tally

_EXACT: Final = Context(prec=1000)
_KEYS: Final[Mapping[Grouping, Callable[[str, str, int, int], LineKey]]] = {
    Grouping.MINUTE: LineKey,
    Grouping.PARTITION: lambda agent, topic, partition, _: LineKey(agent, topic, partition),
    Grouping.TOPIC: lambda agent, topic, _, __: LineKey(agent, topic),
}

Value = Mapping[str, str]
"""Amounts by currency, exact, as text."""


class Sums:
    """Amounts by currency. Never rounds."""

    def __init__(self) -> None:
        self._sums: dict[str, Decimal] = {}

    def add(self, value: Value) -> None:
        """Add amounts."""
        for currency, text in value.items():
            self._sums[currency] = _EXACT.add(self[currency], Decimal(text))

    def __getitem__(self, currency: str) -> Decimal:
        """Zero for a currency that never came."""
        return self._sums.get(currency, Decimal(0))

    @property
    def currencies(self) -> frozenset[str]:
        """Those that came, bar rows without any."""
        return frozenset(currency for currency, amount in self._sums.items() if currency or amount)

    @property
    def value(self) -> Value:
        """As text."""
        return {currency: format(self[currency], "f") for currency in self.currencies}


def same_value(one: Value, other: Value) -> bool:
    """Equal to the last digit; a currency that sums to nothing may be left out."""
    return all(Decimal(one.get(currency, 0)) == Decimal(other.get(currency, 0)) for currency in {*one, *other})


def value_text(value: Value) -> str:
    """For messages."""
    given = {currency: amount for currency, amount in value.items() if Decimal(amount)}
    return ", ".join(f"{amount} {currency}" for currency, amount in sorted(given.items())) or "nothing"


class Sheet:
    """Lines, totals and findings of one verification, as they come in."""

    def __init__(self, by: Grouping) -> None:
        self._key = _KEYS[by]
        self.lines: dict[LineKey, Line] = defaultdict(Line)
        self.findings = Findings()
        self.unprovable = 0
        self.unsettled = 0
        self.in_log = Sums()
        self._accepted = Sums()
        self._stored = Sums()

    def count(self, span: Span, recount: Tally) -> None:
        """One span, with what there really is. `recount` has the span's own counts where nothing can be recounted."""
        line = self.lines[self._key(span.agent, span.topic, span.partition, span.minute_us)]
        line.accepted += span.accepted
        line.stored += recount.stored
        line.duplicates += recount.duplicates
        line.dead_lettered += recount.dead_lettered
        line.retrying += recount.retrying
        self._accepted.add(span.value)
        self._stored.add(recount.value)

    def missing(self, finding: Finding, minute_us: int) -> None:
        """Records that are gone; their line counts them as accepted already."""
        line = self.lines[self._key(finding.agent, finding.topic, finding.partition, minute_us)]
        line.missing += finding.records
        self.findings.add(finding)

    def totals(self, *, log_read: bool) -> Sequence[Total]:
        """By currency. `log_read`: whether every record was read from the log."""
        named = self._accepted.currencies | self._stored.currencies | (self.in_log.currencies if log_read else set())
        return [
            Total(
                currency, self._accepted[currency], self._stored[currency], self.in_log[currency] if log_read else None
            )
            for currency in sorted(named)
        ]
