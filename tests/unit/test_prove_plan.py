"""The plan of a proof: the same seed gives the same faults, none of them in each other's way, none left out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.local.prove.guarantees import GUARANTEES
from bems_streams.local.prove.kinds import KINDS, Zone
from bems_streams.local.prove.plan import LAST_SECONDS, LONGEST_GAP_SECONDS, Site, make_plan

NAMES = ("gateway-0", "gateway-1", "tracker-0", "tracker-1", "sink-0", "sink-1", "ledger")
SITE = Site(NAMES)
TARGETS = {*NAMES, "broker-1", "broker-2", "broker-3"}
SEEDS = st.integers(0, 2**32)
MINUTES = st.floats(0.3, 60)


@given(SEEDS, MINUTES)
def test_a_seed_says_it_all(seed: int, minutes: float) -> None:
    """The same faults at the same times, to the same processes."""
    assert make_plan(seed, minutes, SITE) == make_plan(seed, minutes, SITE)


def test_another_seed_is_another_plan() -> None:
    """Ten of them, all different."""
    plans = {tuple(planned.describe() for planned in make_plan(seed, 5, SITE)) for seed in range(10)}

    assert len(plans) == 10


@given(SEEDS, MINUTES)
def test_faults_come_in_order_and_within_the_time(seed: int, minutes: float) -> None:
    """At least one, however short; the last one while the load still runs."""
    plan = make_plan(seed, minutes, SITE)

    assert [planned.number for planned in plan] == list(range(1, len(plan) + 1))
    assert all(one.at_seconds <= other.at_seconds for one, other in pairwise(plan))
    assert all(planned.at_seconds < minutes * 60 - LAST_SECONDS + 0.1 for planned in plan[1:])


@given(SEEDS)
def test_there_are_enough_faults_in_twenty_minutes(seed: int) -> None:
    """At least forty, so that thirty are survived even on a slow machine."""
    assert len(make_plan(seed, 20, SITE)) >= 40


@given(SEEDS)
def test_calm_is_never_long(seed: int) -> None:
    """About one fault every thirty seconds, unless everything is being restarted or held for longer."""
    for one, other in pairwise(make_plan(seed, 20, SITE)):
        if Zone.EVERYTHING not in (one.kind.zone, other.kind.zone):
            assert other.at_seconds - one.at_seconds <= LONGEST_GAP_SECONDS + 0.2


@given(SEEDS)
def test_every_kind_comes_when_time_allows(seed: int) -> None:
    """In twenty minutes each kind at least twice, and each guarantee is attacked."""
    plan = make_plan(seed, 20, SITE)

    counts = {name: sum(planned.kind.name == name for planned in plan) for name in KINDS}
    assert min(counts.values()) >= 2, counts
    assert {name for planned in plan for name in planned.kind.guarantees} == set(GUARANTEES)


@given(SEEDS)
def test_no_kind_is_repeated_before_all_others_came(seed: int) -> None:
    """A short proof attacks as many things as it can."""
    first = [planned.kind.name for planned in make_plan(seed, 20, SITE)][: len(KINDS)]

    assert sorted(first) == sorted(KINDS)


@given(SEEDS)
def test_faults_that_overlap_are_of_different_parts(seed: int) -> None:
    """A tracker may die while a broker is gone; two store troubles at once would hide each other."""
    plan = make_plan(seed, 20, SITE)
    held = [
        (one, other)
        for place, one in enumerate(plan)
        for other in plan[place + 1 :]
        if other.at_seconds < one.at_seconds + one.hold_seconds
    ]

    assert all(one.kind.zone.overlaps(other.kind.zone) for one, other in held)


def test_some_faults_overlap() -> None:
    """Over a few seeds there are many."""
    plans = [make_plan(seed, 20, SITE) for seed in range(10)]

    overlaps = sum(b.at_seconds < a.at_seconds + a.hold_seconds for plan in plans for a, b in pairwise(plan))
    assert overlaps >= 10


@given(SEEDS, MINUTES)
def test_targets_exist_and_parameters_are_in_range(seed: int, minutes: float) -> None:
    """Each fault hits a process of a role that its kind is about, for as long and as much as its kind says."""
    for planned in make_plan(seed, minutes, SITE):
        kind = planned.kind
        more = SITE.session_seconds if kind.beyond_session else 0.0
        assert (planned.target in TARGETS) if kind.targets else planned.target == ""
        assert kind.hold_seconds[0] + more - 0.1 <= planned.hold_seconds <= kind.hold_seconds[1] + more + 0.1
        assert kind.amount[0] * 0.99 <= planned.amount <= kind.amount[1] * 1.01


def test_a_zombie_sleeps_longer_than_its_session() -> None:
    """Otherwise it would not lose its partitions, and nothing would be fenced."""
    plan = make_plan(1, 60, Site(NAMES, session_seconds=10.0))

    frozen = [planned for planned in plan if planned.kind.name in {"freeze-tracker", "freeze-sink"}]
    assert frozen
    assert all(planned.hold_seconds >= 12.0 for planned in frozen)


def test_what_is_not_there_is_not_broken() -> None:
    """Without a ledger process nobody kills one."""
    plan = make_plan(3, 20, Site(tuple(name for name in NAMES if name != "ledger")))

    assert "kill-ledger" not in {planned.kind.name for planned in plan}


def test_a_plan_can_be_of_chosen_kinds() -> None:
    """Those and no others; a name that there is not is answered with those that there are."""
    plan = make_plan(3, 5, SITE, ["kill-sink", "poison"])

    assert {planned.kind.name for planned in plan} == {"kill-sink", "poison"}
    with pytest.raises(ValueError, match=r"no fault kill-sync; .*kill-sink"):
        make_plan(3, 5, SITE, ["kill-sync"])


def test_each_kind_attacks_guarantees_that_exist() -> None:
    """And each guarantee is attacked by some kind."""
    assert {name for kind in KINDS.values() for name in kind.guarantees} == set(GUARANTEES)
