"""Judges a cell after its trial: whether the promises that can be checked at the end were kept, and what broke them.

Everything is compared with the log itself, which is read once, partition number by partition number, so that a
million events fit into memory. Not here: the comparisons (judge_*.py), the faults, the report.
"""

from collections import defaultdict
from typing import Final

from bems_streams.local.prove.evidence import SINK, TRACKER, Evidence, Finding, Findings, Progress, Totals, Verdict
from bems_streams.local.prove.judge_alerts import AlertJudge, alerts_of
from bems_streams.local.prove.judge_letters import Letters, judge_lanes
from bems_streams.local.prove.judge_log import NO_EVENT, NOTHING, LogIndex, Shelf, key_of
from bems_streams.local.prove.judge_rows import RowJudge
from bems_streams.local.prove.judge_states import ShownRow, judge_leftovers, judge_states, rows_of
from bems_streams.local.prove.load_books import read_acknowledged, read_poison
from bems_streams.local.prove.reference import PlainEvent, read_event
from bems_streams.ports import Coordinates, RawRecord

READING: Final = "log, states and alerts"


def judge(evidence: Evidence, progress: Progress = lambda what, done, total: None) -> Verdict:
    """The verdict. Raises LogUnavailableError, StoreUnavailableError when witnesses do not answer."""
    return _Trial(evidence, progress).verdict()


class _Trial:
    def __init__(self, evidence: Evidence, progress: Progress) -> None:
        self._evidence = evidence
        self._progress = progress
        self._findings = Findings(evidence.cell)
        self._totals = Totals()
        extents = evidence.log.extents(evidence.stage_places)
        self._index = LogIndex({place: Shelf(extent) for place, extent in extents.items()})
        self._letters = Letters(self._findings)
        self._rules = evidence.rules

    def verdict(self) -> Verdict:
        evidence, findings = self._evidence, self._findings
        self._letters = Letters.read(evidence, findings)
        self._totals.dead_letters_read = self._letters.count
        states = rows_of(evidence.store.invoices())
        self._totals.invoices = len(states)
        for number in range(evidence.catalogue.partitions):
            self._progress(READING, number, evidence.catalogue.partitions)
            self._judge_number(number, states)
        judge_leftovers(findings, states)
        self._letters.compare_rest(evidence)
        judge_lanes(evidence, findings)
        rows = RowJudge(evidence, self._index, findings, self._totals, self._progress)
        rows.stored()
        rows.set_aside()
        rows.account()
        self._judge_receipts()
        self._judge_poison()
        self._progress("the ledger's own verification", 0, 1)
        for objection in evidence.verify():
            findings.note(Finding("G10", *objection))
        return Verdict(self._totals, findings.named, dict(findings.counts))

    def _judge_number(self, number: int, states: dict[str, ShownRow]) -> None:
        """All topics of one partition number: an invoice is on the same number in each."""
        catalogue, log = self._evidence.catalogue, self._evidence.log
        status_topic, alerts_topic = catalogue.status_topic, catalogue.alerts_topic
        derived = log.extents([(status_topic, number), (alerts_topic, number)])
        stages = {place: shelf.extent for place, shelf in self._index.shelves.items() if place[1] == number}
        events: defaultdict[str, list[PlainEvent]] = defaultdict(list)
        newest: dict[str, bytes] = {}
        alerts: list[RawRecord] = []
        for record in log.read({**stages, **derived}):
            if record.at.topic == alerts_topic:
                alerts.append(record)
            elif record.at.topic == status_topic:
                if record.key is not None and record.value is not None:
                    newest[record.key.decode("utf-8", "replace")] = record.value
            elif (event := self._take(record)) is not None:
                events[event.invoice_id].append(event)
        self._totals.alerts += len(alerts)
        expected = {invoice_id: self._rules.expected(found) for invoice_id, found in events.items()}
        told = alerts_of(self._findings, alerts)
        AlertJudge(self._evidence, self._rules, self._findings).judge(told, events, expected, newest, states)
        judge_states(self._findings, expected, newest, states)

    def _take(self, record: RawRecord) -> PlainEvent | None:
        """One record of a stage topic into the index. Returns what the tracker must have folded."""
        event = read_event(record.value, record.accepted_us)
        stage = self._evidence.catalogue.stage_of(record.at.topic)
        if event is not None and (event.stage != stage or record.key != event.invoice_id.encode()):
            event = None
        self._letters.compare(record, is_event=event is not None)
        self._index.put(record.at, event)
        if event is None:
            return None
        if not self._letters.is_poison(SINK, record.at):
            self._index.count_value(record.at, event)
        return None if self._letters.is_dead(TRACKER, record.at) else event

    def _judge_receipts(self) -> None:
        """The log holds what was acknowledged, where it was acknowledged. What became of it there: see RowJudge."""
        for line in read_acknowledged(self._evidence.folder):
            self._totals.acknowledged += 1
            at = Coordinates(line.topic, line.partition, line.offset)
            found = self._index.key(at)
            if found != key_of(line.invoice_id, line.event_id):
                there = "holds nothing" if found == NOTHING else "holds something else"
                what = f"acknowledged at {line.accepted_at}, but the log {there} there"
                self._findings.add("G1", what, at, line.event_id, line.invoice_id)

    def _judge_poison(self) -> None:
        """Bad records that are proven to be in the log are dead letters of both agents, even those that look good."""
        for line in read_poison(self._evidence.folder):
            at = Coordinates(line.topic, line.partition, line.offset)
            found = self._index.key(at)
            if found == NOTHING:
                self._findings.add("G1", "a bad record has proof of being in the log, which holds nothing there", at)
            for agent in (TRACKER, SINK):
                if found not in (NOTHING, NO_EVENT) and not self._letters.is_poison(agent, at):
                    self._findings.add("G9", f"a bad record, but the {agent} has no dead letter of it", at)
