"""Records of the log by column: what the ledger counts and sums of many at once, without an object for each.

Not here: which of them are accounted for (stores_ledger.py), where they are kept (the stores).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

from bems_streams.adapters.stores_summary import EXACT, NO_CURRENCY, Valued, amount_text
from bems_streams.ports import MINUTE_US, EventRow, Place, RecordOutcome, Tally

Record = tuple[int, RecordOutcome, Valued]
"""(accepted_us, outcome, value) of one offset."""


class Records(NamedTuple):
    """Of one partition, by offset, each once."""

    offsets: Sequence[int]
    accepted_us: Sequence[int]
    outcomes: Sequence[RecordOutcome]
    values: Sequence[Valued]

    @classmethod
    def of(cls, records: Mapping[int, Record]) -> "Records":
        """From any order."""
        ordered = sorted(records.items())
        accepted_us, outcomes, values = (
            zip(*(record for _, record in ordered), strict=True) if ordered else ((), (), ())
        )
        return cls([offset for offset, _ in ordered], accepted_us, outcomes, values)

    def between(self, first: int, until: int) -> "Records":
        """Those at offsets from `first` to before `until`."""
        part = slice(bisect_left(self.offsets, first), bisect_left(self.offsets, until))
        if part == slice(0, len(self.offsets)):
            return self
        return Records(self.offsets[part], self.accepted_us[part], self.outcomes[part], self.values[part])

    def at(self, offset: int) -> Record:
        """The one at this offset, which must be there."""
        place = bisect_left(self.offsets, offset)
        return self.accepted_us[place], self.outcomes[place], self.values[place]

    def minutes(self) -> Iterator[tuple[int, int, int]]:
        """(minute, begin, end): stretches of records that were accepted in the same minute, by their places here."""
        if not self.offsets:
            return
        first, last = min(self.accepted_us) // MINUTE_US, max(self.accepted_us) // MINUTE_US
        if first == last:  # nearly always
            yield first, 0, len(self.offsets)
            return
        minutes = [accepted_us // MINUTE_US for accepted_us in self.accepted_us]
        ends = [place for place in range(1, len(minutes)) if minutes[place] != minutes[place - 1]]
        for begin, end in pairwise([0, *ends, len(minutes)]):
            yield minutes[begin], begin, end

    def tally(self, begin: int, end: int) -> Tally:
        """By outcome, and their value, of those at these places."""
        return _tally(self.outcomes[begin:end], self.values[begin:end])


def by_place(
    events: Sequence[EventRow], outcomes: Sequence[RecordOutcome], values: Sequence[Valued]
) -> Mapping[Place, Records]:
    """Of the last of each coordinates. Rows of a partition mostly come together and in order: they are only sliced."""
    coordinates = [row.at for row in events]
    slices: defaultdict[Place, list[range]] = defaultdict(list)
    begin = 0
    for place, run in groupby(coordinates, itemgetter(0, 1)):
        end = begin + len(list(run))
        slices[place].append(range(begin, end))
        begin = end
    found = {}
    for place, runs in slices.items():
        offsets = [coordinates[row].offset for row in runs[0]]
        if len(runs) == 1 and offsets == sorted(set(offsets)):
            rows = slice(runs[0].start, runs[0].stop)
            accepted_us = [row.accepted_us for row in events[rows]]
            found[place] = Records(offsets, accepted_us, outcomes[rows], values[rows])
        else:
            mixed = {coordinates[row].offset: row for run in runs for row in run}
            found[place] = Records.of(
                {offset: (events[row].accepted_us, outcomes[row], values[row]) for offset, row in mixed.items()}
            )
    return found


def tally_of(records: Sequence[Record]) -> Tally:
    """Records by outcome, and their value."""
    return _tally([outcome for _, outcome, _ in records], [value for _, _, value in records])


def _tally(outcomes: Sequence[RecordOutcome], values: Sequence[Valued]) -> Tally:
    return Tally(
        stored=outcomes.count(RecordOutcome.STORED),
        duplicates=outcomes.count(RecordOutcome.DUPLICATE),
        dead_lettered=outcomes.count(RecordOutcome.DEAD_LETTERED),
        retrying=outcomes.count(RecordOutcome.RETRYING),
        value=texts(total(values)),
    )


def total(values: Iterable[Valued]) -> dict[str, Decimal]:
    """Exact sums by currency; what has no currency is left out."""
    amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
    for currency, amount in values:
        amounts[currency].append(amount)
    amounts.pop(NO_CURRENCY, None)
    with localcontext(EXACT):
        return {currency: sum(several, Decimal(0)) for currency, several in amounts.items()}


def texts(sums: Mapping[str, Decimal]) -> dict[str, str]:
    """Sums as they stand in spans and tallies."""
    return {currency: amount_text(amount) for currency, amount in sorted(sums.items())}
