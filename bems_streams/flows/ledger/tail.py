"""What is not handled yet at the end of each partition: in time, or later than promised; and where the log falls short.

Not here: what was handled (spans.py, gaps.py).
"""

from collections.abc import Mapping
from itertools import groupby, islice
from typing import Final

from bems_streams.flows.ledger.evidence import Books, Evidence, record_finding
from bems_streams.flows.ledger.findings import Finding, Kind
from bems_streams.flows.ledger.sheet import Sheet
from bems_streams.ports import Coordinates, Extent, Offsets, Place

NAMED_PER_PLACE: Final = 20
LOOK_INTO_OFFSETS: Final = 100
LATE: Final = "accepted longer ago than promised and not handled yet: see whether the agent runs, and what it waits for"
NEVER_WRITTEN: Final = "rows of records that no ledger entry covers"


def examine_overdue(evidence: Evidence, books: Books, due: Mapping[Place, Extent], sheet: Sheet) -> None:
    """`due`: offsets that should be handled by now. Names the oldest records, counts all."""
    now = evidence.store.ledger_positions(books.agent)
    late = {
        place: Extent(max(extent.start, now.get(place, 0)), extent.end)
        for place, extent in due.items()
        if now.get(place, 0) < extent.end
    }
    names = evidence.first_records(late, LOOK_INTO_OFFSETS)
    for place, extent in late.items():
        records = names.get(place, [])
        looked_into = min(extent.end, extent.start + LOOK_INTO_OFFSETS)
        for record in islice(records, NAMED_PER_PLACE):
            sheet.findings.add(record_finding(Kind.OVERDUE, books.agent, record, LATE))
        named = min(len(records), NAMED_PER_PLACE)
        rest = len(records) - named + extent.end - looked_into
        if records and rest:
            first = records[named - 1].at.offset + 1
            detail = f"{rest} offsets more, all {LATE}"
            sheet.findings.add(Finding(Kind.OVERDUE, books.agent, *place, first, extent.end, detail, records=rest))


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


def examine_rows(evidence: Evidence, books: Books, sheet: Sheet) -> None:
    """Rows outside the ledger, as ranges, bar those that were found from the other side."""
    known = [found for found in sheet.findings.named if found.kind is Kind.UNRECORDED and found.agent == books.agent]
    rows = sorted(evidence.store.rows_outside_ledger(books.agent))
    new = [at for at in rows if not any(_inside(at, found) for found in known)]
    runs = groupby(enumerate(new), key=lambda one: (one[1].topic, one[1].partition, one[1].offset - one[0]))
    for (topic, partition, _), run in runs:
        offsets = [at.offset for _, at in run]
        detail = f"{len(offsets)} {NEVER_WRITTEN}"
        found = Finding(Kind.UNRECORDED, books.agent, topic, partition, offsets[0], offsets[-1] + 1, detail)
        sheet.findings.add(found)


def _inside(at: Coordinates, found: Finding) -> bool:
    place = found.topic, found.partition
    return place == at[:2] and found.first_offset <= at.offset < found.next_offset
