"""Compares spans of the ledger with the log and with the rows, record by record, and names every record that differs.

Not here: which spans are worth it (reconcile.py), offsets without a span (gaps.py).
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bems_streams.flows.ledger.evidence import Books, Evidence, record_finding
from bems_streams.flows.ledger.findings import Finding, Kind
from bems_streams.flows.ledger.sheet import Sheet, Sums, same_value, value_text
from bems_streams.ports import MINUTE_US, Extent, Place, RawRecord, Span, Tally

LOOKS: Final = 5
NO_ROW: Final = "the ledger counts it, but there is no row of it"
DELETED: Final = "; retention has deleted the record: look for the event in the archive"


@dataclass(slots=True)
class _Seen:
    """What the log holds for one span."""

    span: Span
    records: int = 0
    wrong: int = 0
    sums: Sums = field(default_factory=Sums)


def is_whole(evidence: Evidence, span: Span) -> bool:
    """Whether every offset is a record that counts; where markers of transactions lie between, the log was read."""
    return span.next_offset - span.first_offset == span.accepted or evidence.is_proven(*_fact(span))


def examine_spans(evidence: Evidence, books: Books, spans: Sequence[Span], sheet: Sheet) -> None:
    """Every record of these spans has one row with its amount, and each span counts what the log holds."""
    seen: dict[Place, list[_Seen]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span[:4]):
        seen[span.topic, span.partition].append(_Seen(span))
    ranges = {place: [Extent(s.span.first_offset, s.span.next_offset) for s in own] for place, own in seen.items()}
    for records in evidence.records(ranges):
        owned = [(record, owner) for record in records if (owner := _owner(record, seen)) is not None]
        for _, owner in owned:
            owner.records += 1
        if books.row_per_record:
            rows = evidence.rows(books.agent, [record.at for record, _ in owned])
            for (record, owner), row in zip(owned, rows, strict=True):
                _compare(evidence, record, owner, row, sheet)
    log = evidence.log_extents(list(seen))
    for place, own in seen.items():
        for one in own:
            _judge(evidence, books, one, log[place].start, sheet)


def _owner(record: RawRecord, seen: Mapping[Place, Sequence[_Seen]]) -> _Seen | None:
    own = seen[record.at.topic, record.at.partition]
    index = bisect_right(own, record.at.offset, key=lambda one: one.span.first_offset) - 1
    return own[index] if index >= 0 and record.at.offset < own[index].span.next_offset else None


def _compare(evidence: Evidence, record: RawRecord, seen: _Seen, row: Tally, sheet: Sheet) -> None:
    span, expected = seen.span, evidence.value(record)
    if row.stored + row.duplicates == 0 and row.accepted and same_value(row.value, {}):
        expected = {}  # set aside by code that could not read its amount
    seen.sums.add(expected)
    sheet.in_log.add(expected)
    if row.accepted == 1 and same_value(expected, row.value):
        return
    seen.wrong += 1
    if row.accepted == 0:
        sheet.missing(record_finding(Kind.MISSING, span.agent, record, NO_ROW), span.minute_us)
    elif row.accepted > 1:
        sheet.findings.add(record_finding(Kind.MISCOUNTED, span.agent, record, f"it has {row.accepted} rows"))
    else:
        detail = f"accepted with {value_text(expected)}, but its row has {value_text(row.value)}"
        sheet.findings.add(record_finding(Kind.CHANGED, span.agent, record, detail))


def _judge(evidence: Evidence, books: Books, seen: _Seen, log_start: int, sheet: Sheet) -> None:
    span = seen.span
    if span.first_offset < log_start:
        _judge_deleted(evidence, books, seen, log_start, sheet)
        return
    if seen.records != span.accepted:
        detail = f"the log holds {seen.records} records here, the ledger counts {span.accepted}"
        sheet.findings.add(_span_finding(Kind.MISCOUNTED, span, detail))
        return
    if seen.wrong:
        return
    evidence.remember(*_fact(span))
    if books.row_per_record and not same_value(span.value, seen.sums.value):
        detail = f"the ledger says {value_text(span.value)}, its records say {value_text(seen.sums.value)}"
        sheet.findings.add(_span_finding(Kind.CHANGED, span, detail))
    else:
        _judge_counts(evidence, books, span, sheet)


def _judge_deleted(evidence: Evidence, books: Books, seen: _Seen, log_start: int, sheet: Sheet) -> None:
    """Retention took records of the span: what lacks a row can be named by its receipt only."""
    span = seen.span
    lacking = span.accepted - evidence.store.tally([span])[0].accepted - seen.wrong
    if not books.row_per_record or lacking <= 0:
        _judge_counts(evidence, books, span, sheet)
        return
    end = min(span.next_offset, log_start)
    held = set(evidence.store.held(span.agent, span.topic, span.partition, span.first_offset, end))
    rowless = [offset for offset in range(span.first_offset, end) if offset not in held]
    if len(rowless) == lacking:
        ranges = [(offset, offset + 1, 1, NO_ROW + DELETED) for offset in rowless]
    else:
        ranges = [(span.first_offset, end, lacking, f"{lacking} of these were records without a row{DELETED}")]
    for first, after, records, detail in ranges:
        found = Finding(Kind.MISSING, span.agent, span.topic, span.partition, first, after, detail, records=records)
        sheet.missing(found, span.minute_us)


def _judge_counts(evidence: Evidence, books: Books, span: Span, sheet: Sheet) -> None:
    """Lanes move records from one outcome to another while we look: only what holds still is compared."""
    for _ in range(LOOKS):
        before = _entry(evidence, span)
        recount = evidence.store.tally([before or span])[0]
        if before is not None and before == _entry(evidence, span):
            if not books.agree(before, recount):
                detail = f"the ledger says {_counts(before)}; the rows say {_counts(recount)}"
                sheet.findings.add(_span_finding(Kind.MISCOUNTED, before, detail))
            return
    sheet.unsettled += 1


def _entry(evidence: Evidence, span: Span) -> Span | None:
    """The span as it is now."""
    now = evidence.store.ledger(span.agent, span.minute_us, span.minute_us + MINUTE_US)
    return next((entry for entry in now if entry[:4] == span[:4]), None)


def _span_finding(kind: Kind, span: Span, detail: str) -> Finding:
    return Finding(kind, span.agent, span.topic, span.partition, span.first_offset, span.next_offset, detail)


def _counts(counts: Span | Tally) -> str:
    numbers = f"{counts.stored} stored, {counts.duplicates} duplicates, {counts.dead_lettered} dead-lettered"
    return f"{numbers}, {counts.retrying} retrying, {value_text(counts.value)}"


def _fact(span: Span) -> tuple[object, ...]:
    """That the log holds exactly as many records as the span counts."""
    return (*span[:5], span.accepted)
