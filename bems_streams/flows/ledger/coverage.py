"""Arithmetic of offset ranges: what a row of spans covers, what it leaves out, what can be read in one go. Pure.

Not here: what ranges mean.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from bems_streams.ports import Extent


class Coverage:
    """Offsets of one partition that are accounted for: disjoint ranges in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> Extent | None:
        """Cover start to before end. Returns what was covered before already (the first such range), if anything."""
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        twice = None
        for index in range(low, high):
            both = Extent(max(start, self._starts[index]), min(end, self._ends[index]))
            if both.start < both.end:
                twice = twice or both
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high], self._ends[low:high] = [start], [end]
        return twice

    def gaps(self, start: int, end: int) -> Iterator[Extent]:
        """What is left out between start and end."""
        for index in range(bisect_right(self._ends, start), len(self._starts)):
            if start >= end:
                return
            if self._starts[index] > start:
                yield Extent(start, min(self._starts[index], end))
            start = self._ends[index]
        if start < end:
            yield Extent(start, end)

    @property
    def start(self) -> int | None:
        """The first offset covered."""
        return self._starts[0] if self._starts else None


def together(extents: Iterable[Extent], within: int) -> list[Extent]:
    """Ranges that include the given ones; those nearer than `within` offsets to each other become one."""
    joined: list[Extent] = []
    for extent in sorted(extents):
        if joined and extent.start - joined[-1].end <= within:
            joined[-1] = Extent(joined[-1].start, max(joined[-1].end, extent.end))
        else:
            joined.append(extent)
    return joined
