"""Which worker gets which partition numbers: whole columns, evenly, moving as few as possible."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.types.tuples import TP
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.runtime.assignor import ColumnAssignor, Columns, balance

names = st.sampled_from([f"worker-{n}" for n in range(9)])
claims = st.dictionaries(names, st.lists(st.integers(-3, 30), max_size=30), min_size=1, max_size=9)
partition_counts = st.integers(1, 30)


def moved(before: Mapping[str, Columns], after: Mapping[str, Columns]) -> set[int]:
    """Columns that somebody must restore now."""
    return {column for member, columns in after.items() for column in columns - before.get(member, frozenset())}


def sizes(shares: Mapping[str, Columns]) -> list[int]:
    """How many columns each member has."""
    return [len(columns) for columns in shares.values()]


@given(partition_counts, claims)
def test_every_column_goes_to_exactly_one_member_and_evenly(count: int, owned: dict[str, list[int]]) -> None:
    """Whatever members claim: overlapping, outdated, repeated, beyond what there is."""
    shares = balance(range(count), owned)

    assert shares.keys() == owned.keys()
    assert sorted(column for columns in shares.values() for column in columns) == list(range(count))
    assert max(sizes(shares)) - min(sizes(shares)) <= 1


@given(partition_counts, claims, st.randoms(use_true_random=False))
def test_the_order_in_which_members_and_columns_are_named_does_not_matter(
    count: int, owned: dict[str, list[int]], random: Any
) -> None:
    """Two leaders with the same knowledge decide the same."""
    members, columns = list(owned), list(range(count))
    random.shuffle(members)
    random.shuffle(columns)

    assert balance(columns, {member: owned[member][::-1] for member in members}) == balance(range(count), owned)


@given(partition_counts, claims)
def test_a_second_rebalance_with_the_same_members_moves_nothing(count: int, owned: dict[str, list[int]]) -> None:
    """A restart inside the session, or a rebalance for any other reason, costs no restore."""
    shares = balance(range(count), owned)

    assert balance(range(count), shares) == shares


@given(partition_counts, claims, st.data())
def test_when_a_member_leaves_only_its_columns_move(
    count: int, owned: dict[str, list[int]], data: st.DataObject
) -> None:
    """Nobody else gives anything up: those who stay only gain."""
    before = balance(range(count), {**owned, "leaver": []})
    leaver = data.draw(st.sampled_from(sorted(before)))

    after = balance(range(count), {member: columns for member, columns in before.items() if member != leaver})

    assert moved(before, after) == before[leaver]


@given(partition_counts, claims)
def test_a_member_that_joins_takes_its_share_and_nothing_else_moves(count: int, owned: dict[str, list[int]]) -> None:
    """Columns go from the old members to the new one, never between old ones."""
    before = balance(range(count), owned)

    after = balance(range(count), {**before, "joiner": []})

    assert moved(before, after) == after["joiner"]
    assert len(after["joiner"]) == count // len(after)


@given(partition_counts, claims)
def test_a_member_gives_up_nothing_while_it_holds_no_more_than_its_share(
    count: int, owned: dict[str, list[int]]
) -> None:
    """Claims that nobody else makes are kept up to the smaller share, and the larger shares go to who claims most."""
    shares = balance(range(count), owned)

    for member, claimed in owned.items():
        others = {column for other, columns in owned.items() if other != member for column in columns}
        alone = set(claimed) & set(range(count)) - others
        if set(claimed) & others:
            continue
        assert len(shares[member] & alone) >= min(len(alone), count // len(owned))
        if len(alone) > len(shares[member]):
            assert shares[member] <= alone


@given(
    partition_counts,
    st.lists(st.tuples(st.sampled_from(["join", "leave", "forget"]), names), min_size=1, max_size=30),
)
def test_columns_stay_whole_and_even_through_any_history(count: int, history: list[tuple[str, str]]) -> None:
    """Members join, leave and forget what they held; no step moves more columns than the change of members needs."""
    shares: dict[str, Columns] = balance(range(count), {"first": []})
    for change, member in history:
        owned: dict[str, Sequence[int] | Columns] = dict(shares)
        if change == "leave" and member in owned and len(owned) > 1:
            del owned[member]
        else:
            owned[member] = [] if change == "forget" else owned.get(member, [])
        after = balance(range(count), owned)
        assert sorted(column for columns in after.values() for column in columns) == list(range(count))
        assert max(sizes(after)) - min(sizes(after)) <= 1
        unowned = set(range(count)).difference(*owned.values())
        taken = moved({name: frozenset(columns) for name, columns in owned.items()}, after)
        assert len(taken) <= max(len(unowned), *sizes(after))
        shares = after


def test_more_members_than_columns_leave_some_in_waiting() -> None:
    """They own nothing, and take over at once when somebody leaves."""
    shares = balance(range(2), {"a": [], "b": [], "c": []})

    assert sorted(sizes(shares)) == [0, 1, 1]


def test_no_members_and_no_columns_are_no_problem() -> None:
    """The empty cases."""
    assert balance([], {}) == {}
    assert balance([1, 2], {}) == {}
    assert balance([], {"a": [1]}) == {"a": frozenset()}


# -------------------------------------------------------------------------------------- as aiokafka and Faust call it


class Cluster:
    """What the client knows of topics."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """As aiokafka: None for a topic that is not known."""
        return set(range(self._partitions[topic])) if topic in self._partitions else None


class GaveUpError(Exception):
    """The process would have ended."""


def give_up(reason: str) -> NoReturn:
    """In place of the end of the process."""
    raise GaveUpError(reason)


def assignor(held: Mapping[str, Sequence[int]] | None = None) -> ColumnAssignor:
    """A member's, which holds these partitions by topic."""
    made = ColumnAssignor(app=None, give_up=give_up)
    if held:
        made.on_assignment(ConsumerProtocolMemberAssignment(0, [(topic, list(held[topic])) for topic in held], b""))
    return made


TOPICS = ("in.a", "in.b", "in.c", "in.d")
CLUSTER = Cluster(dict.fromkeys(TOPICS, 12))


def over_the_wire(struct: Any, value: Any) -> Any:
    """What the other side decodes from what this side encodes."""
    return struct.decode(value.encode())


def rebalance(members: Mapping[str, ColumnAssignor], topics: Mapping[str, Sequence[str]]) -> dict[str, set[TP]]:
    """One round of the group protocol, bytes included; the first member is the leader."""
    told = {
        name: over_the_wire(ConsumerProtocolMemberMetadata, member.metadata(topics[name]))
        for name, member in members.items()
    }
    leader = next(iter(members.values()))
    for name, assignment in leader.assign(CLUSTER, told).items():
        members[name].on_assignment(over_the_wire(ConsumerProtocolMemberAssignment, assignment))
    return {name: member.assigned_actives() for name, member in members.items()}


@pytest.mark.parametrize("workers", range(1, 8))
def test_all_topics_of_a_partition_number_go_to_one_worker(workers: int) -> None:
    """An invoice's events meet in one place, also for numbers of workers that do not divide the partitions."""
    members = {f"w{n}": assignor() for n in range(workers)}

    held = rebalance(members, dict.fromkeys(members, TOPICS))

    numbers = {name: {tp.partition for tp in tps} for name, tps in held.items()}
    assert all(tps == {TP(t, n) for t in TOPICS for n in numbers[name]} for name, tps in held.items())
    assert sorted(number for owned in numbers.values() for number in owned) == list(range(12))
    assert {len(owned) for owned in numbers.values()} <= {12 // workers, -(-12 // workers)}


def test_what_members_hold_travels_with_their_metadata() -> None:
    """Stickiness needs no memory in the leader: a new leader moves no more than needed either."""
    members = {f"w{n}": assignor() for n in range(5)}
    before = rebalance(members, dict.fromkeys(members, TOPICS))

    stay = {name: member for name, member in members.items() if name != "w0"}  # w0 led, and is gone
    after = rebalance(stay, dict.fromkeys(stay, TOPICS))

    assert set().union(*(after[name] - before[name] for name in stay)) == before["w0"]
    assert rebalance(stay, dict.fromkeys(stay, TOPICS)) == after


def test_a_member_of_an_earlier_release_gets_the_topics_it_knows() -> None:
    """While a stage is rolled out its partitions of old members' columns wait; nothing is torn apart."""
    members = {"old": assignor(), "new": assignor()}

    held = rebalance(members, {"old": TOPICS[:3], "new": TOPICS})

    for name, topics in (("old", TOPICS[:3]), ("new", TOPICS)):
        numbers = {tp.partition for tp in held[name]}
        assert held[name] == {TP(topic, number) for topic in topics for number in numbers}
        assert len(numbers) == 6


@pytest.mark.parametrize("user_data", [None, b"", b"\xc1", b"\xa3abc", b"\x92\xa1a\x01", b"\x91\xcb?\xf8" + b"\0" * 6])
def test_user_data_of_somebody_else_is_no_claim(user_data: bytes | None) -> None:
    """A member of another version still gets its share."""
    leader = assignor({topic: range(12) for topic in TOPICS})
    told = {
        "w0": leader.metadata(TOPICS),
        "w1": over_the_wire(ConsumerProtocolMemberMetadata, ConsumerProtocolMemberMetadata(0, list(TOPICS), user_data)),
    }

    shares = leader.assign(CLUSTER, told)

    assert {name: len(share.assignment[0][1]) for name, share in shares.items()} == {"w0": 6, "w1": 6}


def test_topics_of_unequal_width_keep_their_columns_together() -> None:
    """The catalogue forbids it; should it happen, no partition is lost and a column is never split."""
    leader = assignor()
    told = {f"w{n}": leader.metadata(["wide", "narrow"]) for n in range(2)}

    shares = leader.assign(Cluster({"wide": 4, "narrow": 2}), told)

    held = {name: {(t, n) for t, numbers in share.assignment for n in numbers} for name, share in shares.items()}
    assert sorted(place for places in held.values() for place in places) == sorted(
        [("wide", n) for n in range(4)] + [("narrow", n) for n in range(2)]
    )
    assert all(("wide", n) in places for places in held.values() for t, n in places)


def test_a_topic_that_the_cluster_does_not_name_ends_the_process() -> None:
    """Right after a broker came back: assigned without it, its records would wait until the next rebalance."""
    leader = assignor()

    with pytest.raises(GaveUpError, match=r"in\.d"):
        leader.assign(Cluster(dict.fromkeys(TOPICS[:3], 12)), {"w0": leader.metadata(TOPICS)})


def test_faust_is_told_what_is_held() -> None:
    """All of it active, none in standby, one co-partitioned group, no tables."""
    member = assignor({"in.a": [1, 2]})

    assert member.assigned_actives() == {TP("in.a", 1), TP("in.a", 2)}
    assert (member.is_active(TP("in.a", 1)), member.is_active(TP("in.a", 3))) == (True, False)
    assert (member.assigned_standbys(), member.is_standby(TP("in.a", 1))) == (set(), False)
    assert (member.group_for_topic("in.a"), member.table_metadata("in.a"), member.tables_metadata()) == (0, {}, {})
    with pytest.raises(NotImplementedError):
        member.key_store("in.a", b"key")
