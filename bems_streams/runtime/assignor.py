"""Which worker gets which partition numbers: all topics of one number together, balanced to one, sticky.

An invoice's events lie in partition p of every stage topic; its state lies in one place. Hence whole columns move.
Not here: checking that a worker really holds a column completely (ownership.py).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

import msgspec
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from faust.types.assignor import PartitionAssignorT
from faust.types.tuples import TP

from bems_streams.runtime.failfast import die

Columns = frozenset[int]


def balance(columns: Iterable[int], owned: Mapping[str, Iterable[int]]) -> dict[str, Columns]:
    """Give every column to exactly one member. Pure and deterministic.

    columns: partition numbers to hand out. owned: what each member held before (claims may overlap or be outdated).
    Guarantees: sizes differ by at most one; a member keeps what it held unless balance needs it to give some up.
    """
    members = sorted(owned)
    if not members:
        return {}
    free = set(columns)
    quota, extra = divmod(len(free), len(members))
    claims = {member: sorted(free.intersection(owned[member])) for member in members}
    kept: dict[str, list[int]] = {member: [] for member in members}
    # Members with most claims get the larger share first: they lose least.
    by_claims = sorted(members, key=lambda member: (-len(claims[member]), member))
    share = {member: quota + (1 if place < extra else 0) for place, member in enumerate(by_claims)}
    for member in by_claims:
        for column in claims[member]:
            if column in free and len(kept[member]) < share[member]:
                kept[member].append(column)
                free.discard(column)
    rest = iter(sorted(free))
    for member in by_claims:
        while len(kept[member]) < share[member]:
            kept[member].append(next(rest))
    return {member: frozenset(kept[member]) for member in members}


class ColumnAssignor(AbstractPartitionAssignor, PartitionAssignorT):  # type: ignore[misc]
    """Faust's `PartitionAssignor` setting: `balance` over partition numbers. User data: columns held, msgpack."""

    name: Final = "bems-columns"
    version: Final = 0

    def __init__(self, app: Any, replicas: int = 0, give_up: Callable[[str], NoReturn] = die) -> None:
        AbstractPartitionAssignor.__init__(self)
        self.app = app
        self.replicas = replicas
        self._give_up = give_up
        self._held: set[TP] = set()

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this member tells the leader: its topics, and the columns it holds now."""
        columns = sorted({tp.partition for tp in self._held})
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), msgspec.msgpack.encode(columns))

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Called on the group's leader. A member gets, of its columns, the topics that it subscribes to."""
        owned = {member: _columns(metadata.user_data) for member, metadata in members.items()}
        topics = {topic for metadata in members.values() for topic in metadata.subscription}
        partitions = {topic: cluster.partitions_for_topic(topic) or set() for topic in topics}
        unknown = sorted(topic for topic, numbers in partitions.items() if not numbers)
        if unknown:  # right after a broker came back: an assignment without them would stand until the next rebalance
            self._give_up(f"the cluster does not name the partitions of {', '.join(unknown)}: `bems topics check`")
        shares = balance(set().union(*partitions.values()), owned)
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version,
                [
                    (topic, numbers)
                    for topic in sorted(metadata.subscription)
                    if (numbers := sorted(shares[member].intersection(partitions[topic])))
                ],
                b"",
            )
            for member, metadata in members.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Remember what the leader gave."""
        self._held = {TP(topic, number) for topic, numbers in assignment.assignment for number in numbers}

    def assigned_actives(self) -> set[TP]:
        """All that is held."""
        return set(self._held)

    def assigned_standbys(self) -> set[TP]:
        """None: state is rebuilt from the changelog."""
        return set()

    def is_active(self, tp: TP) -> bool:
        """Whether this member holds `tp`."""
        return tp in self._held

    def is_standby(self, tp: TP) -> bool:
        """Never."""
        return False

    def group_for_topic(self, topic: str) -> int:
        """One co-partitioned group."""
        return 0

    def key_store(self, topic: str, key: bytes) -> Any:
        """Faust's table routing is not used."""
        raise NotImplementedError("tables of invoices are read through the store, not through Faust's router")

    def table_metadata(self, topic: str) -> dict[str, Any]:
        """Faust's tables are not used."""
        return {}

    def tables_metadata(self) -> dict[str, Any]:
        """Faust's tables are not used."""
        return {}


def _columns(user_data: bytes | None) -> list[int]:
    """A member of another version may say something else, or nothing: then it claims nothing."""
    try:
        return msgspec.msgpack.decode(user_data or b"", type=list[int])
    except msgspec.DecodeError:
        return []
