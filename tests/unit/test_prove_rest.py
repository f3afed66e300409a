"""Watching a cell and bringing it to rest: what counts as handled, and when nothing more is to come."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bems_streams.adapters.memory_ledger import MemoryTables
from bems_streams.adapters.memory_reader import MemoryReader
from bems_streams.local.prove.load_books import COUNTERS
from bems_streams.local.prove.samples import Sample, Sampler
from bems_streams.local.prove.settle import Settling
from bems_streams.ports import Coordinates, Extent, LogUnavailableError, Offsets, Place, RawRecord, StoreCounts
from tests.support import eventually

TOPIC = "invoices.posting"
NOW_US = 1_700_000_000_000_000


class Store(MemoryReader):
    """A store whose counts a test sets."""

    def __init__(self, counts: StoreCounts, seen: Sequence[tuple[int, int, int]] = ()) -> None:
        super().__init__(MemoryTables(threading.Lock()))
        self.now = counts
        self.seen = seen
        self.waiting: list[Any] = []

    def counts(self) -> StoreCounts:
        """As set."""
        return self.now

    def retrying(self, limit: int | None = None) -> list[Any]:
        """As set."""
        return self.waiting

    def stored_since(self, sequence: int, limit: int) -> Sequence[tuple[int, int, int]]:
        """As set."""
        return [row for row in self.seen if row[0] > sequence]


class Log:
    """One partition, in which some offsets belong to no record; away while a test says so."""

    def __init__(self, end: int, markers: Sequence[int] = ()) -> None:
        self.end = end
        self.markers = markers
        self.away = 0

    def extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        """The same for every place."""
        if self.away:
            self.away -= 1
            raise LogUnavailableError("nobody answers")
        return dict.fromkeys(places, Extent(0, self.end))

    def offsets_at(self, places: Sequence[Place], moment_us: int) -> Offsets:
        """Not asked."""
        raise NotImplementedError

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        """Records, but no markers."""
        for (topic, number), span in spans.items():
            for offset in range(*span):
                if offset not in self.markers:
                    yield RawRecord(Coordinates(topic, number, offset), None, None, (), NOW_US)


class Group:
    """How far an agent has come; `steps` further with each look."""

    def __init__(self, position: int | None, steps: int = 0) -> None:
        self.position = position
        self.steps = steps

    def committed(self, places: Sequence[Place]) -> Offsets:
        """The same for every place; absent at first."""
        now = self.position
        if now is not None:
            self.position = now + self.steps
        return {} if now is None else dict.fromkeys(places, now)


COUNTS = StoreCounts(stored=10, duplicates=0, dead_lettered=0, invoices=1, stuck=0)


def settle(log: Log, group: Group, store: Store | None = None) -> tuple[str, list[str]]:
    """What was left at a short deadline, and what was said meanwhile."""
    said: list[str] = []
    settling = Settling(
        log, {"sink": group}, store or Store(COUNTS), {"sink": [TOPIC]}, 1, calm_seconds=0.0, look_seconds=0.01
    )
    return settling.wait(0.2, said.append), said


def test_a_cell_that_has_read_everything_is_at_rest() -> None:
    """Nothing is left."""
    assert settle(Log(10), Group(10)) == ("", [])


def test_the_last_offset_may_belong_to_no_record() -> None:
    """After a transaction it never will be committed: what cannot be read is not waited for."""
    assert settle(Log(12, markers=[10, 11]), Group(10))[0] == ""
    assert settle(Log(12, markers=[11]), Group(10))[0] == "sink has 1 records to read"


def test_records_that_nobody_committed_are_left() -> None:
    """Also of a group that never committed anything."""
    assert settle(Log(12), Group(10))[0] == "sink has 2 records to read"
    assert settle(Log(12), Group(None))[0] == "sink has 12 records to read"
    assert settle(Log(5000), Group(None))[0] == "sink has 1,000 or more records to read"


def test_what_waits_in_a_lane_is_left() -> None:
    """It heals, or becomes a dead letter, before anything is judged."""
    store = Store(COUNTS)
    store.waiting = [object(), object()]

    assert settle(Log(10), Group(10), store)[0] == "2 records wait in lanes"


def test_rest_comes_when_the_agent_has_caught_up() -> None:
    """What is left is said meanwhile."""
    left, said = settle(Log(10), Group(7, steps=1))

    assert left == ""
    assert said == [f"sink has {records} records to read" for records in (3, 2, 1)]


def test_a_broker_that_does_not_answer_is_asked_again() -> None:
    """It is no sign of rest, and no error."""
    log = Log(10)
    log.away = 2

    left, said = settle(log, Group(10))

    assert left == ""
    assert said == ["cannot be asked now: nobody answers"] * 2


class Stopped:
    """A clock that stands."""

    def now_us(self) -> int:
        """Always the same."""
        return NOW_US


def sampled(folder: Path, ends: Callable[[], Offsets], store: Store) -> Sampler:
    """A sampler that took samples until events were seen and accepted."""
    sampler = Sampler(ends, store, folder, Stopped(), sample_seconds=0.02)
    with sampler:
        eventually(lambda: sampler.latest, lambda latest: latest.accepted > 0 and latest.stored > 0, 10.0)
    return sampler


def test_a_sample_says_what_is_accepted_and_what_has_an_outcome(tmp_path: Path) -> None:
    """Of log, store and load; what has none yet is the backlog."""
    (tmp_path / COUNTERS).write_text('{"acknowledged": 18, "refused_503": 3}')
    store = Store(StoreCounts(stored=10, duplicates=2, dead_lettered=1, invoices=1, stuck=0, retrying=4))

    latest = sampled(tmp_path, lambda: {(TOPIC, 0): 12, (TOPIC, 1): 8}, store).latest

    assert (latest.accepted, latest.accounted, latest.lag) == (20, 17, 3)
    assert (latest.acknowledged, latest.refused) == (18, 3)


def test_visibility_is_measured_for_every_event_by_a_clock_of_its_own(tmp_path: Path) -> None:
    """From acceptance to the query that returned it: what the sink's clock says of it does not count."""
    seen = [(n, NOW_US - n * 1000, NOW_US + 10**12) for n in range(1, 101)]

    visible = sampled(tmp_path, lambda: {(TOPIC, 0): 100}, Store(COUNTS, seen)).visible()

    assert visible == (100, 50.0, 95.0, 99.0, 100.0)


def test_a_broker_that_is_away_leaves_the_last_number(tmp_path: Path) -> None:
    """And the store is looked at all the same."""
    answers: list[Offsets] = [{(TOPIC, 0): 7}]

    def ends() -> Offsets:
        if not answers:
            raise LogUnavailableError("away")
        return answers.pop()

    sampler = sampled(tmp_path, ends, Store(COUNTS))

    assert sampler.latest.accepted == 7


@pytest.mark.parametrize(("accepted", "lag"), [(30, 10), (20, 0), (15, 0)])
def test_a_backlog_is_never_negative(accepted: int, lag: int) -> None:
    """The store may be asked a moment after the log."""
    assert Sample(accepted=accepted, stored=20).lag == lag
