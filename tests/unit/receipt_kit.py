"""A log and a store that a test lays out by hand, for resolving receipts.

Not here: any test.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.flows.resolve import Receipts
from bems_streams.ports import (
    Coordinates,
    Extent,
    LogUnavailableError,
    Offsets,
    Place,
    RawRecord,
    StoreBatch,
    StoreReader,
)
from tests.contract.rows import NOW_US

CELL: Final = "cell-7"
TOPIC: Final = "invoices.ingestion"
TOPICS: Final = ("invoices.ingestion", "invoices.posting")


@dataclass
class FakeLog:
    """One partition, laid out by offsets; every other one is empty. `away` says why nobody answers.

    start       retention has taken what is before
    stable_end  where committed readers stop; None: at the end
    holes       offsets that belong to no record
    """

    end: int = 0
    start: int = 0
    stable_end: int | None = None
    holes: Sequence[int] = ()
    away: str | None = None
    place: Place = (TOPIC, 0)
    asked: list[Place] = field(default_factory=list)

    def _answer(self, places: Sequence[Place]) -> None:
        self.asked += places
        if self.away is not None:
            raise LogUnavailableError(self.away)

    def high_watermarks(self, places: Sequence[Place]) -> Offsets:
        """See HighWatermarks."""
        self._answer(places)
        return {place: self.end if place == self.place else 0 for place in places}

    def extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        """See LogReader."""
        self._answer(places)
        own = Extent(self.start, self.end if self.stable_end is None else self.stable_end)
        return {place: own if place == self.place else Extent(0, 0) for place in places}

    def offsets_at(self, places: Sequence[Place], moment_us: int) -> Offsets:
        """See LogReader: every record was accepted at once."""
        return {place: extent.end if moment_us > NOW_US else 0 for place, extent in self.extents(places).items()}

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        """See LogReader."""
        extents = self.extents(list(spans))
        for place, span in spans.items():
            for offset in range(max(span.start, extents[place].start), min(span.end, extents[place].end)):
                if offset not in self.holes:
                    yield RawRecord(Coordinates(*place, offset), b"INV-1", b"{}", (), NOW_US)


def store_of(*batches: StoreBatch) -> StoreReader:
    """The reading side of a store that took these; of one that nobody has created, without any."""
    backend = MemoryBackend()
    if batches:
        store = backend.open_store()
        for batch in batches:
            store.write(batch)
    return backend.open_reader()


def receipts(store: StoreReader, log: FakeLog, cell: str = CELL) -> Receipts:
    """As a gateway of the cell resolves them."""
    return Receipts(cell, TOPICS, 12, store, log)


def text(offset: int, topic: str = TOPIC, partition: int = 0, cell: str = CELL) -> str:
    """A receipt."""
    return f"{cell}/{topic}/{partition}/{offset}"
