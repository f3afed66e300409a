"""The tracker's own steps over real tables on disk and a log in memory, in this process: costs without a broker.

Not here: which invoices there are (population.py), what is measured (growth.py, deadlines.py).
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry

from bems_streams.flows.lanes import Lanes
from bems_streams.flows.tracking import CurrentDeadlines, TrackingParts
from bems_streams.metrics import AgentMetrics, TableMetrics
from bems_streams.ports import Change, InvoiceTable, Offsets, OutRecord, Place, RawRecord
from bems_streams.runtime.session import OwnedTable
from bems_streams.runtime.table import TablePartition
from bems_streams.runtime.table_memory import TableMemory
from bems_streams.topics import load_catalogue
from benchmarks.population import Population

FILL_RECORDS: Final = 10_000
MEMORY_BYTES: Final = 256 << 20
"""As config.py has it unless told otherwise."""

BUSY: Final = ("num-running-compactions", "mem-table-flush-pending", "num-running-flushes")
READ_BYTES: Final = 1 << 20
QUIET_LOOKS: Final = 10
"""Between two of its steps RocksDB does nothing for a moment; `compaction-pending` may hold for ever."""

AGENT: Final = "tracker"
T = TypeVar("T")


class MemoryLog:
    """ports.FencedLog that keeps no more than how far each partition reaches."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics
        self._ends: dict[tuple[str, int], int] = {}

    def positions(self, number: int) -> Offsets:
        """See FencedLog."""
        return {(topic, number): 0 for topic in self._topics}

    async def publish(self, records: Sequence[OutRecord], offsets: Offsets) -> Offsets:
        """See FencedLog."""
        ends = self._ends
        written = set()
        for record in records:
            place = record.topic, record.partition or 0
            ends[place] = ends.get(place, 0) + 1
            written.add(place)
        return {place: ends[place] for place in written}


class MeteredTable:
    """ports.InvoiceTable that counts the CPU of this thread in `cpu_seconds`."""

    def __init__(self, table: InvoiceTable) -> None:
        self._table = table
        self.cpu_seconds = 0.0

    def get_many(self, number: int, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See InvoiceTable."""
        began = time.thread_time()
        values = self._table.get_many(number, keys)
        self.cpu_seconds += time.thread_time() - began
        return values

    def apply(self, number: int, changes: Mapping[bytes, Change], changelog_offset: int) -> None:
        """See InvoiceTable."""
        began = time.thread_time()
        self._table.apply(number, changes, changelog_offset)
        self.cpu_seconds += time.thread_time() - began

    def due(self, number: int, until_us: int, limit: int) -> Sequence[bytes]:
        """See InvoiceTable."""
        began = time.thread_time()
        keys = self._table.due(number, until_us, limit)
        self.cpu_seconds += time.thread_time() - began
        return keys


class FrozenClock:
    """ports.Clock that stands still."""

    def __init__(self, us: int) -> None:
        self.us = us

    def now_us(self) -> int:
        """See Clock."""
        return self.us


class InProcess:
    """One tracker's tables, filled with a population, and the parts that its journeys are made of."""

    def __init__(self, folder: Path, count: int, partitions: int, memory_bytes: int = MEMORY_BYTES) -> None:
        catalogue = load_catalogue()
        journey = catalogue.journey()
        self.population = Population(count, partitions, journey)
        self.stage_topics = catalogue.stage_topics
        self.clock = FrozenClock(self.population.first_us - 1)
        self._folder = folder
        self._deadlines = CurrentDeadlines(journey)
        self.memory = TableMemory(memory_bytes)
        self.tables: dict[int, TablePartition] = {}
        self._open()
        self.metered = MeteredTable(OwnedTable(self.tables))
        registry = CollectorRegistry()
        self.parts = TrackingParts(
            journey=journey,
            stage_of={topic: stage for stage, topic in catalogue.stage_topics.items()},
            lanes=Lanes.of(catalogue, AGENT, "c1", "eu"),
            status_topic=catalogue.status_topic,
            alerts_topic=catalogue.alerts_topic,
            ledger_topic=catalogue.ledger_topic,
            changelog=catalogue.changelog_topic(AGENT),
            cell="c1",
            region="eu",
            clock=self.clock,
            table=self.metered,
            log=MemoryLog(list(catalogue.stage_topics.values())),
            metrics=AgentMetrics(registry, AGENT),
            table_metrics=TableMetrics(registry),
        )

    def _open(self) -> None:
        for number in range(self.population.partitions):
            self.tables[number] = TablePartition(self._folder, number, self._deadlines, self.memory)

    def fill(self) -> None:
        """Every invoice into its table."""
        for number, table in self.tables.items():
            for changes in chunks(self.population.fill(number), FILL_RECORDS):
                table.apply(dict(changes), table.changelog_offset + len(changes))

    def draw(self, count: int) -> list[list[RawRecord]]:
        """The next events of that many different invoices, at random; those of one topic partition together."""
        places = self.population.draw(count)
        records = [self.population.next_event(number, self.stage_topics) for number in places]
        return [list(run) for _, run in groupby(sorted(records, key=_place), _place)]

    def cool(self) -> None:
        """Close, forget what the operating system cached of the files, and open again."""
        self.close()
        for path in self._folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fdatasync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._open()

    def warm(self) -> None:
        """Have the operating system cache all of the files, as it does on a machine with memory to spare."""
        for path in self._folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    while file.read(READ_BYTES):
                        pass

    def move(self, places: Sequence[int], deadline_us: Callable[[], int]) -> None:
        """Give the invoices at these places new deadlines, through the table, as events would."""
        changes: dict[int, dict[bytes, Change]] = {}
        for place in places:
            number = place % self.population.partitions
            changes.setdefault(number, {})[self.population.key(place)] = Change(None, 0, 0)
        for number, by_key in changes.items():
            table = self.tables[number]
            for key, stored in zip(by_key, table.get_many(list(by_key)), strict=True):
                assert stored is not None
                by_key[key] = self.population.moved(stored, deadline_us())
            table.apply(by_key, table.changelog_offset + len(by_key))

    def reopen(self) -> None:
        """Close and open, as a restart does."""
        self.close()
        self._open()

    def settle(self) -> None:
        """Wait until no table is merging files any more, so that what filling left to do is not counted later."""
        quiet = 0
        while quiet < QUIET_LOOKS:
            busy = any(
                table._db.property_int_value(f"rocksdb.{name}") for table in self.tables.values() for name in BUSY
            )
            quiet = 0 if busy else quiet + 1
            time.sleep(0.01)

    @property
    def disk_bytes(self) -> int:
        """What the tables take on disk."""
        return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())

    def close(self) -> None:
        """Flush and release the tables."""
        while self.tables:
            self.tables.popitem()[1].close()

    def remove(self) -> None:
        """Close, and delete what is on disk."""
        self.close()
        shutil.rmtree(self._folder)


def _place(record: RawRecord) -> Place:
    return record.at[:2]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
