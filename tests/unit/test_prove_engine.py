"""Carrying out a plan: in order, never two faults in one part of the cell, undone whatever happens."""

import threading
from collections.abc import Callable, Sequence

import pytest

from bems_streams.local.prove.engine import Engine
from bems_streams.local.prove.entry import Entry
from bems_streams.local.prove.evidence import Finding
from bems_streams.local.prove.plan import Planned
from tests.unit.prove_kit import FakeCluster, FakeSamples, planned

SECONDS = 0.5


class Watched:
    """An engine on a cell in memory, and which faults were under way together."""

    def __init__(self, cluster: FakeCluster | None = None, survive_seconds: float = 0.0) -> None:
        self.cluster = cluster or FakeCluster()
        self.samples = FakeSamples()
        self.now: set[str] = set()
        self.together: set[frozenset[str]] = set()
        self.log: list[str] = []
        self.engine = Engine(
            self.cluster,
            lambda: self.samples.latest,
            survive_seconds=survive_seconds,
            look_seconds=0.01,
            began=self._began,
            ended=self._ended,
        )

    def run(self, plan: Sequence[Planned]) -> Sequence[Entry]:
        """All of it."""
        self.engine.run(plan, SECONDS)
        return self.engine.entries

    def _began(self, entry: Entry) -> None:
        self.now.add(entry.planned.kind.name)
        self.together.add(frozenset(self.now))
        self.log.append(f"{entry.planned.kind.name} begins")

    def _ended(self, entry: Entry) -> None:
        self.now.discard(entry.planned.kind.name)
        self.log.append(f"{entry.planned.kind.name} ends")


class Held(FakeCluster):
    """A cell on which a fault lasts until another has begun, or for a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.second = threading.Event()

    def lose(self, name: str) -> None:
        """Down, and the fault goes on for a while."""
        super().lose(name)
        self.second.wait(SECONDS / 2)

    def kill(self, name: str) -> None:
        """The second fault."""
        super().kill(name)
        self.second.set()


def test_faults_are_carried_out_and_undone() -> None:
    """With their times, and survived at once by a cell that is whole."""
    watched = Watched()

    entries = watched.run([planned("freeze-sink", "sink-0", hold_seconds=9), planned("kill-tracker", "tracker-1")])

    assert watched.log == ["freeze-sink begins", "freeze-sink ends", "kill-tracker begins", "kill-tracker ends"]
    assert (watched.cluster.killed, watched.cluster.frozen) == (["tracker-1"], set())
    assert 9 in watched.cluster.paused
    assert all(entry.survived for entry in entries)
    for entry in entries:
        assert entry.ended_seconds is not None
        assert entry.survived_seconds is not None
        assert entry.started_seconds <= entry.ended_seconds <= entry.survived_seconds


def test_a_fault_waits_for_its_time() -> None:
    """What is planned beyond the end does not happen."""
    entries = Watched().run([planned("kill-sink", "sink-0", at_seconds=0.2), planned("kill-sink", "sink-0", 99.0)])

    assert len(entries) == 1
    assert entries[0].started_seconds >= 0.2


@pytest.mark.parametrize(
    ("kind", "target", "together"),
    [("kill-tracker", "tracker-0", True), ("kill-broker", "broker-2", False), ("rolling-restart", "", False)],
)
def test_faults_overlap_only_in_different_parts(kind: str, target: str, *, together: bool) -> None:
    """A tracker may die while a broker is gone; a second broker, or everything, may not."""
    watched = Watched(Held())

    watched.run([planned("lose-broker", "broker-1", amount=1), planned(kind, target, number=2)])

    assert (frozenset({"lose-broker", kind}) in watched.together) is together


def test_what_was_planned_for_later_waits_for_a_fault_that_takes_longer() -> None:
    """So that each fault is seen alone, unless the plan wants two."""
    watched = Watched(Held())
    lost = planned("lose-broker", "broker-1", at_seconds=-60.0, amount=1)  # expected to be over by now
    later = planned("kill-tracker", "tracker-0", number=2)
    assert lost.busy_until_seconds < later.at_seconds

    watched.run([lost, later])

    assert watched.together == {frozenset({"lose-broker"}), frozenset({"kill-tracker"})}


@pytest.mark.parametrize(
    ("spoil", "missing"),
    [
        (lambda watched: watched.cluster.waiting.update({"sink-0": "restoring"}), "sink-0 restoring"),
        (lambda watched: watched.samples.behind(7), "7 events accepted before it ended are not accounted for"),
    ],
)
def test_a_fault_is_survived_only_by_a_whole_cell(spoil: Callable[[Watched], None], missing: str) -> None:
    """Ready, and caught up; else the entry says what was missing at the deadline, and a guarantee is broken."""
    watched = Watched()
    spoil(watched)

    (entry,) = watched.run([planned("kill-sink", "sink-0")])

    assert not entry.survived
    assert entry.missing == missing
    assert [found.guarantee for found in entry.findings()] == ["G2"]
    assert missing in entry.findings()[0].what


def test_a_cell_that_becomes_whole_in_time_has_survived() -> None:
    """The wait lasts as long as it is allowed to."""
    watched = Watched(survive_seconds=30)
    watched.cluster.waiting["sink-0"] = "restoring"
    threading.Timer(0.1, watched.cluster.waiting.clear).start()

    (entry,) = watched.run([planned("kill-sink", "sink-0")])

    assert entry.survived
    assert entry.missing == ""


def test_a_fault_that_cannot_be_done_is_no_survived_one() -> None:
    """It is undone all the same, the others go on, and the report says so."""
    watched = Watched(FakeCluster(broken={"freeze"}, frozen={"sink-0"}))

    entries = watched.run([planned("freeze-sink", "sink-0"), planned("kill-sink", "sink-1")])

    assert [entry.survived for entry in entries] == [False, True]
    assert entries[0].missing == "the fault itself failed: OSError: no such process"
    assert watched.cluster.frozen == set()
    assert isinstance(entries[0].findings()[0], Finding)


def test_an_interrupt_undoes_what_is_under_way() -> None:
    """Ctrl-C while a broker is gone: it is back when the engine returns."""

    class Interrupted(FakeCluster):
        def pause(self, seconds: float) -> None:
            if threading.current_thread() is threading.main_thread() and self.down:
                raise KeyboardInterrupt
            self.ending.wait(min(seconds, 5.0))

    watched = Watched(Interrupted())

    with pytest.raises(KeyboardInterrupt):
        watched.run([planned("lose-broker", "broker-1", hold_seconds=5, amount=1)])

    assert watched.cluster.down == set()
    assert watched.cluster.most_down == 1
    assert watched.cluster.ending.is_set()
