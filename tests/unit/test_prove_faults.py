"""Each kind of fault: what it does to a cell, and that nothing of it is left afterwards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.local.prove.faults import FAULTS, lost_brokers
from bems_streams.local.prove.kinds import KINDS
from bems_streams.local.prove.load_books import Control
from bems_streams.local.prove.plan import Site, make_plan
from tests.unit.prove_kit import NAMES, FakeCluster, planned


def test_every_kind_can_be_carried_out() -> None:
    """Neither a kind without a fault, nor a fault without a kind."""
    assert sorted(FAULTS) == sorted(KINDS)


@given(st.integers(0, 10_000))
def test_nothing_is_left_of_any_fault(seed: int) -> None:
    """Whatever its target and amount: all processes run, all clocks are right, the store takes what it can."""
    for fault in make_plan(seed, 20, Site(NAMES)):
        cluster = FakeCluster()

        FAULTS[fault.kind.name].inject(cluster, fault)
        FAULTS[fault.kind.name].recover(cluster, fault)

        assert cluster.whole, fault


@given(st.integers(0, 10_000))
def test_every_fault_leaves_a_trace_while_it_lasts(seed: int) -> None:
    """A fault that does nothing would prove nothing."""
    for fault in make_plan(seed, 20, Site(NAMES)):
        cluster, untouched = FakeCluster(), FakeCluster()

        FAULTS[fault.kind.name].inject(cluster, fault)

        cluster.ending = untouched.ending
        assert cluster != untouched, fault


@pytest.mark.parametrize(
    ("target", "amount", "brokers"),
    [
        ("broker-2", 1, ["broker-2"]),
        ("broker-1", 2, ["broker-1", "broker-2"]),
        ("broker-3", 2, ["broker-3", "broker-1"]),
    ],
)
def test_the_brokers_that_are_lost(target: str, amount: float, brokers: list[str]) -> None:
    """The target, and its neighbours in a ring."""
    fault = planned("lose-two-brokers", target, amount=amount)
    cluster = FakeCluster()

    FAULTS["lose-two-brokers"].inject(cluster, fault)

    assert lost_brokers(fault, 3) == brokers
    assert cluster.down == set(brokers)


def test_a_zombie_is_frozen_then_goes_on() -> None:
    """The very process that the plan names."""
    cluster = FakeCluster()

    FAULTS["freeze-tracker"].inject(cluster, planned("freeze-tracker", "tracker-1"))

    assert cluster.frozen == {"tracker-1"}


def test_a_disk_is_lost_while_its_worker_is_down() -> None:
    """And the worker starts on an empty one."""
    cluster, fault = FakeCluster(), planned("wipe-tracker", "tracker-0")

    FAULTS["wipe-tracker"].inject(cluster, fault)

    assert (cluster.wiped, cluster.down) == (["tracker-0"], {"tracker-0"})


def test_what_a_store_refuses_for_ever_it_refuses_after_the_fault_too() -> None:
    """So that some records become dead letters; the others heal."""
    cluster = FakeCluster()
    for number in (4, 7):
        fault = planned("store-refuses", amount=0.02, number=number)
        FAULTS["store-refuses"].inject(cluster, fault)
        assert cluster.troubles.refuse[-1].share > cluster.troubles.refuse[-1].for_ever > 0
        FAULTS["store-refuses"].recover(cluster, fault)

    assert [refusals.salt for refusals in cluster.troubles.refuse] == ["fault-4", "fault-7"]
    assert all(refusals.share == 0 and refusals.for_ever > 0 for refusals in cluster.troubles.refuse)


def test_store_troubles_leave_each_other_alone() -> None:
    """The end of one is not the end of what lasts from another."""
    cluster = FakeCluster()
    FAULTS["store-refuses"].inject(cluster, planned("store-refuses", amount=0.02))
    FAULTS["store-refuses"].recover(cluster, planned("store-refuses", amount=0.02))

    FAULTS["store-away"].inject(cluster, planned("store-away"))
    FAULTS["store-away"].recover(cluster, planned("store-away"))

    assert len(cluster.troubles.refuse) == 1


@pytest.mark.parametrize("what", ["poison", "duplicates", "reorder"])
def test_bursts_are_asked_of_the_load(what: str) -> None:
    """As many as planned, under the fault's number, so that its answer is known."""
    cluster = FakeCluster()

    FAULTS[what].inject(cluster, planned(what, amount=120, number=9))

    assert cluster.bursts == [Control(**{"id": "fault-9", what: 120})]  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "sign"), [("clock-forward", 1), ("clock-back", -1)])
def test_clocks_jump_both_ways(kind: str, sign: int) -> None:
    """Of one worker only."""
    cluster = FakeCluster()

    FAULTS[kind].inject(cluster, planned(kind, "sink-1", amount=3600))

    assert cluster.clocks == {"sink-1": sign * 3600}


def test_a_storm_is_a_visitor_that_comes_and_goes() -> None:
    """As often as planned, each time gone before it comes again."""
    cluster = FakeCluster()

    FAULTS["rebalance-storm"].inject(cluster, planned("rebalance-storm", "tracker-1", amount=3))

    assert cluster.visitors == ["tracker joins", "tracker leaves"] * 3


def test_everything_is_restarted_one_after_the_other() -> None:
    """Brokers too."""
    cluster = FakeCluster()

    FAULTS["rolling-restart"].inject(cluster, planned("rolling-restart"))

    assert cluster.restarted == list(cluster.names)


def test_long_faults_are_cut_short_when_the_proof_ends() -> None:
    """Ctrl-C must not wait for nine more restarts."""
    cluster = FakeCluster()
    cluster.ending.set()

    FAULTS["rolling-restart"].inject(cluster, planned("rolling-restart"))
    FAULTS["rebalance-storm"].inject(cluster, planned("rebalance-storm", "sink-0", amount=5))

    assert (cluster.restarted, cluster.visitors) == ([], [])
