"""Alerts against the events: every stuck invoice has one, none has two, none came for an invoice that had moved on.

Not here: the fold (reference.py), states (judge_states.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Final, NamedTuple

import msgspec

from bems_streams.local.prove.evidence import Evidence, Findings
from bems_streams.local.prove.judge_states import ShownRow, read_state
from bems_streams.local.prove.reference import Expected, PlainEvent, Rules, moment_us
from bems_streams.ports import RawRecord

MOST_HISTORIES: Final = 10_000
STUCK, CLEARED = "stuck", "cleared"


class Alert(NamedTuple):
    """What identifies an alert of one invoice."""

    stage: str
    deadline_us: int
    kind: str


class _Document(msgspec.Struct):
    stage: str
    deadline: str
    kind: str


_read: Final = msgspec.json.Decoder(_Document).decode


def alerts_of(findings: Findings, records: Iterable[RawRecord]) -> dict[str, list[Alert]]:
    """By invoice id, in the order in which they were published."""
    alerts: defaultdict[str, list[Alert]] = defaultdict(list)
    for record in records:
        try:
            document = _read(record.value or b"")
            alert = Alert(document.stage, moment_us(document.deadline), document.kind)
            alerts[(record.key or b"").decode()].append(alert)
        except ValueError as error:  # msgspec's are ValueErrors
            findings.add("G5", f"a record of the alerts topic is no alert: {error}", record.at)
    return dict(alerts)


@dataclass(frozen=True)
class AlertJudge:
    """Judges one partition number."""

    evidence: Evidence
    rules: Rules
    findings: Findings

    def judge(
        self,
        alerts: Mapping[str, Sequence[Alert]],
        events: Mapping[str, Sequence[PlainEvent]],
        expected: Mapping[str, Expected],
        newest: Mapping[str, bytes],
        rows: Mapping[str, ShownRow],
    ) -> None:
        """`newest`: status records. `rows`: of the store, before judge_states takes them."""
        for invoice_id in expected.keys() | alerts.keys():
            told, state = alerts.get(invoice_id, ()), expected.get(invoice_id)
            if state is None:
                self._add(invoice_id, "an alert was raised, but the log holds no event of the invoice")
                continue
            out = self._history(invoice_id, told, events[invoice_id])
            self._now(invoice_id, out, state)
            self._shown(invoice_id, out, newest.get(invoice_id), rows.get(invoice_id))
            if told:
                self._stored(invoice_id, told)

    def _history(self, invoice_id: str, told: Sequence[Alert], events: Sequence[PlainEvent]) -> Alert | None:
        """Each once, each cleared after it was raised, none false. Returns the stuck alert that is out in the end."""
        seen: set[Alert] = set()
        out: Alert | None = None
        for alert in told:
            if alert in seen:
                self._add(invoice_id, f"{_words(alert)} was published twice")
                continue
            seen.add(alert)
            if alert.kind == CLEARED:
                if out is None or alert != out._replace(kind=CLEARED):
                    self._add(invoice_id, f"{_words(alert)}, but it was not raised before")
                out = None
                continue
            if out is not None:
                self._add(invoice_id, f"{_words(alert)} was raised while {_words(out)} was not cleared")
            if not self._could_be_stuck(alert, events):
                self._add(invoice_id, f"{_words(alert)} is false: the invoice had moved on before its deadline")
            out = alert
        return out

    def _could_be_stuck(self, alert: Alert, events: Sequence[PlainEvent]) -> bool:
        """Whether the events accepted before the deadline, with or without later ones, put the invoice there.

        Of later events a tracker may know any beginning per stage topic when it raises the alert.
        """
        known = [event for event in events if event.accepted_us < alert.deadline_us]
        later: defaultdict[str, list[PlainEvent]] = defaultdict(list)
        for event in sorted(events, key=lambda event: event.accepted_us):
            if event.accepted_us >= alert.deadline_us:
                later[event.stage].append(event)
        beginnings = [[found[:size] for size in range(len(found) + 1)] for found in later.values()]
        for more in islice(product(*beginnings), MOST_HISTORIES):
            history = [*known, *(event for found in more for event in found)]
            if history and self.rules.deadline(self.rules.in_order(history)) == (alert.stage, alert.deadline_us):
                return True
        return False

    def _now(self, invoice_id: str, out: Alert | None, state: Expected) -> None:
        due = state.deadline_us is not None and state.deadline_us <= self.evidence.judged_us - self.evidence.margin_us
        here = None if state.deadline_us is None else Alert(state.stage, state.deadline_us, STUCK)
        if out is not None and out != here:
            self._add(invoice_id, f"{_words(out)} was never cleared, but the invoice is in {state.stage} now")
        elif due and here is not None and out is None:
            self._add(invoice_id, f"{_words(here)} was never raised, or was taken back")

    def _shown(self, invoice_id: str, out: Alert | None, value: bytes | None, row: ShownRow | None) -> None:
        """A state that is missing altogether is judged elsewhere."""
        since_us = None if out is None else out.deadline_us
        published = None if value is None else read_state(value)
        if published is not None:
            shown_us = None if published.stuck_since is None else moment_us(published.stuck_since)
            if shown_us != since_us:
                self._add(invoice_id, f"the published state is stuck since {shown_us}, its alerts say {since_us}")
        if row is not None and row.row.stuck_since_us != since_us:
            self._add(invoice_id, f"the store shows stuck since {row.row.stuck_since_us}, its alerts say {since_us}")

    def _stored(self, invoice_id: str, told: Sequence[Alert]) -> None:
        rows = self.evidence.store.timeline(invoice_id).alerts
        stored = [Alert(row.stage, row.deadline_us, row.kind) for row in rows]
        for alert in set(told) - set(stored):
            self._add(invoice_id, f"{_words(alert)} is not in the store")
        for alert in set(stored) - set(told):
            self._add(invoice_id, f"{_words(alert)} is in the store, but was never published")
        if len(stored) != len(set(stored)):
            self._add(invoice_id, "the store has the same alert twice")

    def _add(self, invoice_id: str, what: str) -> None:
        self.findings.add("G5", what, invoice_id=invoice_id)


def _words(alert: Alert) -> str:
    return f"the {alert.kind} alert for {alert.stage} with deadline {alert.deadline_us}"
