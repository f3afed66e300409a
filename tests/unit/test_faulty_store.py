"""A store that fails on request: what it refuses never reaches the real store, and everything else does."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bems_streams.adapters.memory_reader import MemoryReader
from bems_streams.domain.failures import Failure, OutsideHotWindow, StoreRefused
from bems_streams.local.faulty_store import FaultyStore, Refusals, Troubles, ask_for, faulty
from bems_streams.ports import (
    Coordinates,
    EventRow,
    Handled,
    StoreBatch,
    StoreUnavailableError,
    StoreUnusableError,
    WriteOutcome,
    WriteResult,
)

NOW_US = 1_700_000_000_000_000
STRETCH = Handled("sink", "invoices.ingestion", 0, 0, 100)


class Recorded:
    """A store that takes everything and keeps what it was given. Every third row is a duplicate."""

    def __init__(self) -> None:
        self.batches: list[StoreBatch] = []
        self.closed = False

    def write(self, batch: StoreBatch) -> WriteResult:
        """Taken."""
        self.batches.append(batch)
        return WriteResult([outcome_of(row) for row in (*batch.events, *batch.late_events)])

    def close(self) -> None:
        """Noted."""
        self.closed = True


class Stopped:
    """A clock that stands."""

    def now_us(self) -> int:
        """Always the same."""
        return NOW_US


class Rig:
    """The store under test, its control file, and what came through."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control" / "store.json"
        self.inner = Recorded()
        self.slept: list[float] = []
        self.store = FaultyStore(self.path, self.inner, Stopped(), self.slept.append)

    def ask(self, **troubles: object) -> None:
        """Change the troubles."""
        ask_for(self.path, Troubles(**troubles))  # type: ignore[arg-type]

    def write(self, rows: Sequence[EventRow], late: Sequence[EventRow] = ()) -> Sequence[WriteOutcome | Failure]:
        """Write a batch that also has a stretch to account for."""
        return self.store.write(StoreBatch(events=rows, late_events=late, handled=[STRETCH])).outcomes


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """No troubles yet."""
    return Rig(tmp_path)


def row(number: int, occurred_us: int = NOW_US) -> EventRow:
    """Event `e-<number>`."""
    return EventRow(
        event_id=f"e-{number}", invoice_id="INV-1", stage="ingestion", source="erp", occurred_us=occurred_us,
        accepted_us=NOW_US, stored_us=NOW_US, at=Coordinates("invoices.ingestion", 0, number),
    )  # fmt: skip


def outcome_of(given: EventRow) -> WriteOutcome:
    """What the recorded store answers for a row."""
    return WriteOutcome.DUPLICATE if given.at.offset % 3 == 0 else WriteOutcome.STORED


ROWS = [row(number) for number in range(1000)]


def test_without_a_control_file_everything_passes(rig: Rig) -> None:
    """The very batch, and its outcomes."""
    outcomes = rig.write(ROWS[:5])

    assert outcomes == [outcome_of(given) for given in ROWS[:5]]
    assert rig.inner.batches == [StoreBatch(events=ROWS[:5], handled=[STRETCH])]


def test_a_store_that_is_away_writes_nothing_until_it_is_back(rig: Rig) -> None:
    """The writer is told that nothing was written; the file is looked at again on each write."""
    rig.ask(away=True)
    with pytest.raises(StoreUnavailableError):
        rig.write(ROWS[:2])
    assert rig.inner.batches == []

    rig.ask()

    rig.write(ROWS[:2])
    assert len(rig.inner.batches) == 1


def test_a_slow_store_takes_its_time_and_then_writes(rig: Rig) -> None:
    """As long as the file says."""
    rig.ask(slow_seconds=1.5)

    rig.write(ROWS[:2])

    assert rig.slept == [1.5]
    assert len(rig.inner.batches) == 1


def test_refused_rows_are_left_out_and_the_others_written_without_an_account(rig: Rig) -> None:
    """Outcomes stay in order; the stretch is accounted for by the write that has a note for every refused row."""
    rig.ask(refuse=[Refusals(salt="s", share=0.3)])

    outcomes = rig.write(ROWS)

    refused = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, StoreRefused)]
    taken = [given for place, given in enumerate(ROWS) if place not in refused]
    assert 200 < len(refused) < 400
    assert [outcome for outcome in outcomes if not isinstance(outcome, Failure)] == [outcome_of(row) for row in taken]
    assert rig.inner.batches == [StoreBatch(events=taken, late_events=[])]


def test_a_refused_event_is_taken_after_its_tries(rig: Rig) -> None:
    """The same events each time, and each as often as asked for."""
    rig.ask(refuse=[Refusals(salt="s", share=0.3, tries=2)])

    first, second, third = (rig.write(ROWS) for _ in range(3))

    assert [isinstance(outcome, Failure) for outcome in first] == [isinstance(outcome, Failure) for outcome in second]
    assert not any(isinstance(outcome, Failure) for outcome in third)
    assert rig.inner.batches[-1].handled == [STRETCH]


def test_some_events_are_refused_for_ever_in_every_process(rig: Rig, tmp_path: Path) -> None:
    """A copy under other coordinates too, and by a store that was started later."""
    rig.ask(refuse=[Refusals(salt="s", for_ever=0.05)])
    another = Rig(tmp_path)

    outcomes = [one.write(ROWS) for one in (rig, rig, rig, another)]

    refused = [{place for place, outcome in enumerate(each) if isinstance(outcome, Failure)} for each in outcomes]
    assert 20 < len(refused[0]) < 90
    assert refused == [refused[0]] * 4


def test_another_salt_chooses_other_events(rig: Rig) -> None:
    """So that each trouble hits different ones; several add up."""
    rig.ask(refuse=[Refusals(salt="a", for_ever=0.05), Refusals(salt="b", for_ever=0.05)])
    both = {row.event_id for row, outcome in zip(ROWS, rig.write(ROWS), strict=True) if isinstance(outcome, Failure)}
    rig.ask(refuse=[Refusals(salt="a", for_ever=0.05)])

    one = {row.event_id for row, outcome in zip(ROWS, rig.write(ROWS), strict=True) if isinstance(outcome, Failure)}

    assert one < both


def test_old_events_go_in_by_the_late_way_only(rig: Rig) -> None:
    """They are refused as late among the events, and taken among the late ones."""
    old = row(1, NOW_US - 11_000_000)
    rig.ask(hot_window_seconds=10)

    outcomes = rig.write([old, row(2, NOW_US - 9_000_000)], late=[old])

    assert [type(outcome) for outcome in outcomes] == [OutsideHotWindow, WriteOutcome, WriteOutcome]
    assert [len(rig.inner.batches[0].events), len(rig.inner.batches[0].late_events)] == [1, 1]


def test_the_late_way_can_be_for_a_share_of_the_old_ones(rig: Rig) -> None:
    """So that one write has old events of both kinds."""
    rig.ask(hot_window_seconds=10, late_share=0.2)

    outcomes = rig.write([row(number, occurred_us=0) for number in range(1000)])

    assert 120 < sum(isinstance(outcome, OutsideHotWindow) for outcome in outcomes) < 280


def test_late_events_can_be_refused_too(rig: Rig) -> None:
    """Outcomes of the late ones follow those of the others."""
    rig.ask(refuse=[Refusals(salt="s", for_ever=1.0)])

    outcomes = rig.write([], late=ROWS[:3])

    assert [type(outcome) for outcome in outcomes] == [StoreRefused] * 3
    assert rig.inner.batches == [StoreBatch(events=[], late_events=[])]


def test_a_control_file_with_a_slip_stops_the_store_with_its_name(rig: Rig) -> None:
    """Instead of no trouble at all, which would prove nothing."""
    rig.path.parent.mkdir()
    rig.path.write_text(json.dumps({"awya": True}))

    with pytest.raises(StoreUnusableError, match=r"store\.json.*awya"):
        rig.write(ROWS[:1])


def test_closing_closes_the_real_store(rig: Rig) -> None:
    """Its files are released."""
    rig.store.close()

    assert rig.inner.closed


def test_the_url_names_the_file_and_the_real_store(tmp_path: Path) -> None:
    """Readers see the real store, whatever trouble there is."""
    backend = faulty(f"{tmp_path / 'store.json'}|memory:")
    ask_for(tmp_path / "store.json", Troubles(away=True))

    with pytest.raises(StoreUnavailableError):
        backend.open_store().write(StoreBatch())
    assert backend.open_reader().counts().stored == 0
    assert isinstance(backend.open_reader(), MemoryReader)


@pytest.mark.parametrize("rest", ["", "memory:", "|memory:", "/tmp/file"])
def test_a_url_that_names_no_trouble_is_refused(rest: str) -> None:
    """With the form that it should have."""
    with pytest.raises(StoreUnusableError, match=r"faulty:CONTROL_FILE\|URL"):
        faulty(rest)
