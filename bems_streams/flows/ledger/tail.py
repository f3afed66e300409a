"""What is not handled yet at the end of each partition: in time, or later than promised; and where the log falls short.

Not here: what was handled (spans.py, gaps.py).
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from bems_streams.flows.ledger.evidence import Books, Evidence, record_finding
from bems_streams.flows.ledger.findings import Finding, Kind
from bems_streams.flows.ledger.sheet import Sheet
from bems_streams.ports import Coordinates, Extent, Offsets, Place, RawRecord

NAMED_PER_PLACE: Final = 20
LOOK_INTO_OFFSETS: Final = 100
LATE: Final = "accepted longer ago than promised and not handled yet: see whether the agent runs, and what it waits for"
NEVER_WRITTEN: Final = "rows of records that no ledger entry covers"


class Waiting(NamedTuple):
    """Records that wait in one partition, oldest first; `unread` offsets after them were not looked into."""

    records: Sequence[RawRecord]
    unread: int

    @property
    def number(self) -> int:
        """How many wait: exact for few, offsets for many."""
        return len(self.records) + self.unread


def waiting_records(evidence: Evidence, log: Mapping[Place, Extent], positions: Offsets) -> Mapping[Place, Waiting]:
    """What stands after the ledger's positions. Where only markers of transactions are left, nothing waits."""
    ahead = {
        place: Extent(max(start, positions.get(place, start)), end)
        for place, (start, end) in log.items()
        if positions.get(place, start) < end
    }
    unproven = {place: extent for place, extent in ahead.items() if not evidence.is_proven(place, extent)}
    first = evidence.first_records(unproven, LOOK_INTO_OFFSETS)
    for place in unproven.keys() - first.keys():
        evidence.remember(place, unproven[place])
    return {place: Waiting(records, _unread(unproven[place], records)) for place, records in first.items()}


def examine_overdue(
    evidence: Evidence, books: Books, waiting: Mapping[Place, Waiting], due: Offsets, due_us: int, sheet: Sheet
) -> None:
    """What stands before `due`, accepted before `due_us`, should be handled by now. Names the oldest, counts all."""
    late = [place for place, (records, _) in waiting.items() if records[0].accepted_us < due_us]
    handled = evidence.store.ledger_positions(books.agent) if late else {}
    for place in late:
        position, (first, unread) = handled.get(place, 0), waiting[place]
        records = [record for record in first if position <= record.at.offset < due[place]]
        for record in records[:NAMED_PER_PLACE]:
            sheet.findings.add(record_finding(Kind.OVERDUE, books.agent, record, LATE))
        looked_into = first[-1].at.offset + 1 if unread else due[place]
        rest = len(records[NAMED_PER_PLACE:]) + max(0, due[place] - max(position, looked_into))
        if rest:
            detail = f"{rest} offsets up to here, all {LATE}"
            found = Finding(Kind.OVERDUE, books.agent, *place, due[place] - 1, due[place], detail, records=rest)
            sheet.findings.add(found)


def _unread(extent: Extent, records: Sequence[RawRecord]) -> int:
    looked_into = extent.start + LOOK_INTO_OFFSETS
    return max(0, extent.end - looked_into) if records[0].at.offset < looked_into else 0


def examine_ends(evidence: Evidence, books: Books, positions: Offsets, ends: Offsets, sheet: Sheet) -> None:
    """A ledger that is further than the log. `ends` were asked first, so records of since then look so: asked again."""
    ahead = [place for place, position in positions.items() if position > ends.get(place, position)]
    for place, extent in (evidence.log_extents(ahead) if ahead else {}).items():
        if positions[place] > extent.end:
            detail = (
                f"the ledger reaches to {positions[place]}, the log ends at {extent.end}: the broker lost what it had "
                "acknowledged, or the topic was made anew; compare the rows with the archive"
            )
            finding = Finding(Kind.LOG_LOST, books.agent, *place, extent.end, positions[place], detail)
            sheet.findings.add(finding._replace(records=positions[place] - extent.end))


def examine_rows(evidence: Evidence, books: Books, rows: Sequence[Coordinates], sheet: Sheet) -> None:
    """Rows outside the ledger, as ranges, bar those that were found by reading the log."""
    known = [found for found in sheet.findings.ranges if found.kind is Kind.UNRECORDED and found.agent == books.agent]
    ours = (at for at in sorted(rows) if at.topic in evidence.stage_of)
    new = [at for at in ours if not any(_inside(at, found) for found in known)]
    runs = groupby(enumerate(new), key=lambda one: (one[1].topic, one[1].partition, one[1].offset - one[0]))
    for (topic, partition, _), run in runs:
        offsets = [at.offset for _, at in run]
        detail = f"{len(offsets)} {NEVER_WRITTEN}"
        found = Finding(Kind.UNRECORDED, books.agent, topic, partition, offsets[0], offsets[-1] + 1, detail)
        sheet.findings.add(found)


def _inside(at: Coordinates, found: Finding) -> bool:
    place = found.topic, found.partition
    return place == at[:2] and found.first_offset <= at.offset < found.next_offset
