"""How a cluster's topics differ from the catalogue, what may be done about it, and doing it through a TopicAdmin.

Not here: talking to Kafka (adapters/kafka_admin.py), showing a plan (cli/topics.py), which settings are dangerous
and which changes are refused (topics_policy.py).
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from bems_streams import topics_policy as policy
from bems_streams.topics import Catalogue, TopicSpec
from bems_streams.topics_policy import Difference, FoundTopic, Remedy

SETTLE_PAUSE_SECONDS: Final = 0.2


class TopicAdmin(Protocol):
    """The topics of one cluster. Blocking. Every method raises TopicAdminError with what to do when it fails."""

    def names(self) -> Collection[str]:
        """Every topic that can be seen."""

    def describe(self, names: Collection[str]) -> Mapping[str, FoundTopic]:
        """Those of `names` that exist, with their settings in force."""

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is."""

    def alter(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Set the named settings of each topic; the others stay."""


class TopicAdminError(Exception):
    """The cluster cannot be reached, or refused something. The message lists every reason and what to do."""


class UnsafeClusterError(Exception):
    """The cluster's topics could lose or misplace events. `differences` has each reason; the message lists them."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        self.differences = tuple(differences)
        lines = [f"  {difference.describe()}: {difference.danger}" for difference in differences]
        advice = "`bems topics plan` shows the whole difference, `bems topics apply` repairs what can be repaired."
        super().__init__("\n".join(["this cluster could lose or misplace events:", *lines, advice]))


def compare(
    specs: Sequence[TopicSpec], found: Mapping[str, FoundTopic], may_drop: Collection[str] = ()
) -> list[Difference]:
    """Every difference, in the order of `specs`. In topics named in `may_drop`, changes may make old records go."""
    differences: list[Difference] = []
    for spec in specs:
        topic = found.get(spec.name)
        if topic is None:
            differences.append(policy.missing(spec))
            continue
        if topic.partitions != spec.partitions:
            differences.append(policy.other_partitions(spec, topic))
        if topic.replication != spec.replication:
            differences.append(policy.other_replication(spec, topic))
        for setting, wanted in spec.config.items():
            if not policy.same_value(wanted, topic.config.get(setting)):
                differences.append(policy.other_setting(spec, topic, setting, spec.name in may_drop))
    return differences


def check_cluster(catalogue: Catalogue, admin: TopicAdmin, may_drop: Collection[str] = ()) -> list[Difference]:
    """Every difference between catalogue and cluster, topics that the catalogue no longer has last."""
    return [*_compare_now(catalogue, admin, may_drop), *_left_over(catalogue, admin)]


def _compare_now(catalogue: Catalogue, admin: TopicAdmin, may_drop: Collection[str]) -> list[Difference]:
    specs = catalogue.topics()
    return compare(specs, admin.describe({spec.name for spec in specs}), may_drop)


def _left_over(catalogue: Catalogue, admin: TopicAdmin) -> list[Difference]:
    wanted = {spec.name for spec in catalogue.topics()}
    there = sorted(name for name in admin.names() if name not in wanted and catalogue.could_have_made(name))
    return [policy.left_over(name) for name in there]


def refuse_unsafe(differences: Sequence[Difference]) -> None:
    """UnsafeClusterError naming every difference that could lose or misplace events; nothing when there is none."""
    unsafe = [difference for difference in differences if difference.danger]
    if unsafe:
        raise UnsafeClusterError(unsafe)


class Applied(NamedTuple):
    """What `apply_plan` did and read back, what it may not do, and what did not show in time."""

    done: Sequence[Difference]
    refused: Sequence[Difference]
    unsettled: Sequence[Difference]


@dataclass(frozen=True)
class Patience:
    """How long to wait for the cluster to show a change. Tests own its time."""

    seconds: float
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


def apply_plan(catalogue: Catalogue, admin: TopicAdmin, patience: Patience, may_drop: Collection[str] = ()) -> Applied:
    """Create and alter what may be, then read it back until it shows. Doing it again changes nothing."""
    planned = _compare_now(catalogue, admin, may_drop)
    create = {difference.topic for difference in planned if difference.remedy is Remedy.CREATE}
    alter: dict[str, dict[str, str]] = {}
    for difference in planned:
        if difference.remedy is Remedy.ALTER:
            alter.setdefault(difference.topic, {})[difference.setting] = difference.wanted
    if create:
        admin.create([spec for spec in catalogue.topics() if spec.name in create])
    if alter:
        admin.alter(alter)
    remaining = _read_back(catalogue, admin, patience, may_drop) if create or alter else planned
    return Applied(
        done=[
            d for d in planned if d.remedy is not Remedy.REFUSE and not any(_undoes(other, d) for other in remaining)
        ],
        refused=[*(d for d in remaining if d.remedy is Remedy.REFUSE), *_left_over(catalogue, admin)],
        unsettled=[d for d in remaining if d.remedy is not Remedy.REFUSE],
    )


def _undoes(remaining: Difference, change: Difference) -> bool:
    """Whether a difference that remains means that a change did not take: any, for a topic that was to be created."""
    return remaining.topic == change.topic and (
        change.remedy is Remedy.CREATE or remaining.setting in (change.setting, policy.WHOLE_TOPIC)
    )


def _read_back(
    catalogue: Catalogue, admin: TopicAdmin, patience: Patience, may_drop: Collection[str]
) -> list[Difference]:
    """What still differs once only refused differences are left, or patience ends.

    A topic without leaders cannot be used: it is not there yet. One that somebody else made meanwhile, in another
    shape, shows here too.
    """
    end = patience.now() + patience.seconds
    specs = catalogue.topics()
    while True:
        found = admin.describe({spec.name for spec in specs})
        usable = {name: topic for name, topic in found.items() if not topic.leaderless}
        remaining = compare(specs, usable, may_drop)
        if patience.now() >= end or all(difference.remedy is Remedy.REFUSE for difference in remaining):
            return remaining
        patience.pause(SETTLE_PAUSE_SECONDS)
