"""Looks into offsets that no span of the ledger covers: markers of transactions belong there, records do not.

Not here: finding the gaps (reconcile.py).
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bems_streams.flows.ledger.coverage import Coverage
from bems_streams.flows.ledger.evidence import Books, Evidence, record_finding
from bems_streams.flows.ledger.findings import Finding, Kind
from bems_streams.flows.ledger.sheet import Sheet
from bems_streams.ports import MINUTE_US, Extent, Place, RawRecord, Span, Tally

NO_ENTRY: Final = "no ledger entry covers it, and nothing shows that it was handled"


@dataclass(slots=True)
class _Gap:
    """What the log holds in one gap. `strays`: records that the ledger does not cover by now either."""

    extent: Extent
    records: int = 0
    strays: int = 0
    rows: int = 0


def examine_gaps(evidence: Evidence, books: Books, gaps: Mapping[Place, Sequence[Extent]], sheet: Sheet) -> None:
    """Names every record in them that the agent did not account for, and each range that lacks an entry."""
    looked_into = {
        place: [_Gap(gap) for gap in own if not evidence.is_proven(place, gap)] for place, own in gaps.items()
    }
    covered: dict[int, Mapping[Place, Coverage]] = {}
    for records in evidence.records({place: [gap.extent for gap in own] for place, own in looked_into.items()}):
        strays: list[tuple[RawRecord, _Gap]] = []
        for record in records:
            gap = _gap_of(record, looked_into)
            if gap is not None:
                gap.records += 1
                if not _is_covered(evidence, books, record, covered):
                    strays.append((record, gap))
        _count_strays(evidence, books, strays, sheet)
    for place, own in looked_into.items():
        for gap in own:
            if gap.strays:
                sheet.findings.add(_unrecorded(books, place, gap))
            elif not gap.records:
                evidence.remember(place, gap.extent)


def _gap_of(record: RawRecord, gaps: Mapping[Place, Sequence[_Gap]]) -> _Gap | None:
    own = gaps[record.at.topic, record.at.partition]
    index = bisect_right(own, record.at.offset, key=lambda gap: gap.extent.start) - 1
    return own[index] if index >= 0 and record.at.offset < own[index].extent.end else None


def _is_covered(
    evidence: Evidence, books: Books, record: RawRecord, covered: dict[int, Mapping[Place, Coverage]]
) -> bool:
    """Asks the ledger of the record's own minute, now: it may have been written since, or by a clock that was set."""
    minute_us = record.accepted_us - record.accepted_us % MINUTE_US
    if minute_us not in covered:
        places: dict[Place, Coverage] = defaultdict(Coverage)
        for span in evidence.store.ledger(books.agent, minute_us, minute_us + MINUTE_US):
            places[span.topic, span.partition].add(span.first_offset, span.next_offset)
        covered[minute_us] = places
    topic, partition, offset = record.at
    return not any(covered[minute_us][topic, partition].gaps(offset, offset + 1))


def _count_strays(evidence: Evidence, books: Books, strays: Sequence[tuple[RawRecord, _Gap]], sheet: Sheet) -> None:
    nothing = [Tally()] * len(strays)
    rows = evidence.rows(books.agent, [record.at for record, _ in strays]) if books.row_per_record else nothing
    for (record, gap), row in zip(strays, rows, strict=True):
        gap.strays += 1
        gap.rows += row.accepted
        minute_us = record.accepted_us - record.accepted_us % MINUTE_US
        value = evidence.value(record) if books.row_per_record else {}
        sheet.count(Span(books.agent, *record.at, record.at.offset + 1, minute_us, 1, 0, 0, 0, value), row)
        sheet.in_log.add(value)
        if not row.accepted:
            sheet.missing(record_finding(Kind.MISSING, books.agent, record, NO_ENTRY), minute_us)


def _unrecorded(books: Books, place: Place, gap: _Gap) -> Finding:
    detail = f"{gap.strays} records were accepted here that no ledger entry covers"
    if books.row_per_record:
        detail += f"; {gap.rows} of them have a row"
    return Finding(Kind.UNRECORDED, books.agent, *place, *gap.extent, detail)
