"""The difference between cluster and catalogue: what is found, what it means, what is done, what is refused."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bems_streams.topics import Catalogue, Overrides, TopicSpec, load_catalogue
from bems_streams.topics_plan import (
    Patience,
    UnsafeClusterError,
    apply_plan,
    check_cluster,
    refuse_unsafe,
)
from bems_streams.topics_policy import Difference, FoundTopic, Remedy

SHIPPED = Path(__file__).parents[2] / "topics.yaml"
RAW = "invoices.ingestion"
STATUS = "invoices.status"
ALERTS = "invoices.alerts"
CHANGELOG = "invoices.tracker.changelog"
LANE = "invoices.sink.retry-1"


def found_as(spec: TopicSpec) -> FoundTopic:
    """The topic exactly as wanted, among settings that the catalogue does not name."""
    return FoundTopic(spec.partitions, spec.replication, {**spec.config, "flush.ms": "9223372036854775807"})


@dataclass
class Cluster:
    """Topics in memory. Created topics show after `lag` more descriptions, and have leaders after `election` more."""

    topics: dict[str, FoundTopic] = field(default_factory=dict)
    lag: int = 0
    election: int = 0
    changes: int = 0
    _coming: dict[str, FoundTopic] = field(default_factory=dict)

    def names(self) -> Collection[str]:
        return self.topics.keys()

    def describe(self, names: Collection[str]) -> Mapping[str, FoundTopic]:
        if self._coming and self.lag == 0:
            self.topics.update(self._coming)
            self._coming = {}
        elif self._coming:
            self.lag -= 1
        shown = {name: topic for name, topic in self.topics.items() if name in names}
        if not self._coming and self.changes and self.election:
            self.election -= 1
            return {name: topic._replace(leaderless=1) for name, topic in shown.items()}
        return shown

    def create(self, specs: Sequence[TopicSpec]) -> None:
        self.changes += 1
        self._coming.update({spec.name: found_as(spec) for spec in specs if spec.name not in self.topics})

    def alter(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        self.changes += 1
        for name, config in configs.items():
            topic = self.topics[name]
            self.topics[name] = topic._replace(config={**topic.config, **config})


@dataclass
class Time:
    """A clock that only pauses move."""

    seconds: float = 0.0

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, now=lambda: self.seconds, pause=self._pause)

    def _pause(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def catalogue() -> Catalogue:
    """The shipped catalogue with the numbers of production."""
    return load_catalogue(SHIPPED, Overrides(replication=3, min_insync_replicas=2))


@pytest.fixture
def cluster(catalogue: Catalogue) -> Cluster:
    """A cluster that is as the catalogue says."""
    return Cluster({spec.name: found_as(spec) for spec in catalogue.topics()})


def change(cluster: Cluster, topic: str, **config: str) -> None:
    """Somebody set a topic's settings by hand (`_` stands for `.`)."""
    given = {name.replace("_", "."): value for name, value in config.items()}
    present = cluster.topics[topic]
    cluster.topics[topic] = present._replace(config={**present.config, **given})


def only(differences: Sequence[Difference]) -> Difference:
    """The one difference there is."""
    assert len(differences) == 1, differences
    return differences[0]


# ------------------------------------------------------------------------------------------------- what is found


def test_a_cluster_as_the_catalogue_says_has_no_difference(catalogue: Catalogue, cluster: Cluster) -> None:
    """Settings that the catalogue does not name do not matter."""
    assert check_cluster(catalogue, cluster) == []


def test_an_empty_cluster_lacks_every_topic(catalogue: Catalogue) -> None:
    """Each is to be created, and until then nothing may run."""
    differences = check_cluster(catalogue, Cluster())
    assert [difference.topic for difference in differences] == [spec.name for spec in catalogue.topics()]
    assert all(difference.remedy is Remedy.CREATE and difference.unsafe for difference in differences)


@pytest.mark.parametrize(
    ("topic", "setting", "value"),
    [
        (RAW, "max.message.bytes", "01048588"),
        (CHANGELOG, "min.cleanable.dirty.ratio", "0.20"),
        (RAW, "cleanup.policy", "Delete"),
    ],
)
def test_a_setting_written_otherwise_is_no_difference(
    catalogue: Catalogue, cluster: Cluster, topic: str, setting: str, value: str
) -> None:
    """Numbers compare by value, words whatever their case."""
    change(cluster, topic, **{setting: value})
    assert check_cluster(catalogue, cluster) == []


def test_a_setting_that_the_cluster_does_not_tell_is_a_difference(catalogue: Catalogue, cluster: Cluster) -> None:
    """What is not known is not safe."""
    present = cluster.topics[RAW]
    config = {name: value for name, value in present.config.items() if name != "retention.ms"}
    cluster.topics[RAW] = present._replace(config=config)
    difference = only(check_cluster(catalogue, cluster))
    assert (difference.setting, difference.found, difference.unsafe) == ("retention.ms", "unknown", True)


def test_topics_of_a_removed_stage_or_wait_are_shown_and_kept(catalogue: Catalogue, cluster: Cluster) -> None:
    """They may hold events: deleting is left to people. Topics of other teams are not our business."""
    spare = FoundTopic(12, 3, {})
    left = ["invoices.approval", "invoices.approval.sink.dlq", "invoices.sink.retry-4"]
    cluster.topics |= dict.fromkeys([*left, "sub.finance"], spare)
    differences = check_cluster(catalogue, cluster)
    assert [difference.topic for difference in differences] == left
    assert all(difference.remedy is Remedy.REFUSE and not difference.unsafe for difference in differences)
    assert "delete it yourself" in differences[0].advice
    assert apply_plan(catalogue, cluster, Time().patience(10)).refused == differences


# ------------------------------------------------------------------------------------------- what it means

DAY_MS = 86_400_000
MEANINGS = [
    (RAW, "message.timestamp.type", "CreateTime", True),
    (ALERTS, "message.timestamp.type", "CreateTime", True),
    (RAW, "cleanup.policy", "compact", True),
    (RAW, "cleanup.policy", "compact,delete", True),
    (RAW, "retention.ms", str(29 * DAY_MS), True),
    (RAW, "retention.ms", str(31 * DAY_MS), False),
    (RAW, "retention.ms", "-1", False),
    (RAW, "retention.bytes", "1073741824", True),
    (RAW, "min.insync.replicas", "1", True),
    (RAW, "min.insync.replicas", "3", False),
    (RAW, "unclean.leader.election.enable", "true", True),
    (RAW, "max.message.bytes", "65536", False),
    (RAW, "compression.type", "gzip", False),
    (f"{RAW}.sink.dlq", "retention.ms", str(DAY_MS), True),
    (f"{RAW}.sink.dlq", "cleanup.policy", "compact", True),
    (LANE, "retention.ms", str(29 * DAY_MS), True),
    (LANE, "retention.bytes", "1073741824", True),
    (STATUS, "cleanup.policy", "compact,delete", True),
    (CHANGELOG, "cleanup.policy", "delete", True),
    (CHANGELOG, "delete.retention.ms", str(DAY_MS), True),
    (CHANGELOG, "delete.retention.ms", str(90 * DAY_MS), False),
    (CHANGELOG, "segment.bytes", "1073741824", False),
]


@pytest.mark.parametrize(("topic", "setting", "value", "unsafe"), MEANINGS)
def test_what_could_lose_or_misplace_events_is_unsafe(
    catalogue: Catalogue, cluster: Cluster, topic: str, setting: str, value: str, unsafe: bool
) -> None:
    """And what could not, is not: workers start in spite of it."""
    change(cluster, topic, **{setting: value})
    difference = only(check_cluster(catalogue, cluster))
    assert (difference.topic, difference.setting, difference.found) == (topic, setting, value)
    assert difference.unsafe is unsafe


@pytest.mark.parametrize(("partitions", "why"), [(6, "another partition"), (24, "cannot take partitions away")])
def test_another_number_of_partitions_is_refused_with_the_way_out(
    catalogue: Catalogue, cluster: Cluster, partitions: int, why: str
) -> None:
    """More or fewer: either would split an invoice between two workers."""
    cluster.topics[RAW] = cluster.topics[RAW]._replace(partitions=partitions)
    difference = only(check_cluster(catalogue, cluster))
    assert (difference.setting, difference.wanted, difference.found) == ("partitions", "12", str(partitions))
    assert difference.remedy is Remedy.REFUSE
    assert difference.unsafe
    assert why in difference.advice
    assert f"keep {partitions} (topics.yaml or BEMS_PARTITIONS)" in difference.advice


@pytest.mark.parametrize(("replication", "unsafe"), [(2, True), (4, False)])
def test_another_replication_is_refused_with_the_way_out(
    catalogue: Catalogue, cluster: Cluster, replication: int, unsafe: bool
) -> None:
    """Moving data between brokers is a job of its own; only fewer copies are a danger."""
    cluster.topics[RAW] = cluster.topics[RAW]._replace(replication=replication)
    difference = only(check_cluster(catalogue, cluster))
    assert difference.remedy is Remedy.REFUSE
    assert difference.unsafe is unsafe
    assert "kafka-reassign-partitions.sh" in difference.advice


def test_an_unsafe_cluster_is_refused_with_every_reason(catalogue: Catalogue, cluster: Cluster) -> None:
    """A worker that starts anyway would lose events silently."""
    change(cluster, RAW, cleanup_policy="compact", compression_type="gzip")
    change(cluster, CHANGELOG, unclean_leader_election_enable="true")
    del cluster.topics[STATUS]
    with pytest.raises(UnsafeClusterError) as raised:
        refuse_unsafe(check_cluster(catalogue, cluster))
    assert {(difference.topic, difference.setting) for difference in raised.value.differences} == {
        (RAW, "cleanup.policy"),
        (CHANGELOG, "unclean.leader.election.enable"),
        (STATUS, "topic"),
    }
    assert f"{RAW}: cleanup.policy is compact, not delete" in str(raised.value)
    assert "bems topics apply" in str(raised.value)


def test_a_harmless_difference_does_not_stop_a_worker(catalogue: Catalogue, cluster: Cluster) -> None:
    """It is for `bems topics check` to complain about."""
    change(cluster, RAW, compression_type="gzip")
    refuse_unsafe(check_cluster(catalogue, cluster))


# ------------------------------------------------------------------------------------------- what is done about it


def test_apply_creates_and_alters_what_may_be_and_then_has_nothing_to_do(
    catalogue: Catalogue, cluster: Cluster
) -> None:
    """Doing it again changes nothing."""
    del cluster.topics[STATUS]
    change(cluster, RAW, message_timestamp_type="CreateTime", retention_ms="1000")
    applied = apply_plan(catalogue, cluster, Time().patience(10))
    assert [(d.topic, d.setting) for d in applied.done] == [
        (RAW, "message.timestamp.type"),
        (RAW, "retention.ms"),
        (STATUS, "topic"),
    ]
    assert (applied.refused, applied.unsettled) == ([], [])
    assert check_cluster(catalogue, cluster) == []
    changes = cluster.changes
    again = apply_plan(catalogue, cluster, Time().patience(10))
    assert (list(again.done), list(again.refused), list(again.unsettled)) == ([], [], [])
    assert cluster.changes == changes


def test_apply_waits_until_the_cluster_shows_what_was_done(catalogue: Catalogue) -> None:
    """Metadata spreads slowly, and a topic is of use only once its partitions have leaders."""
    time, cluster = Time(), Cluster(lag=3, election=4)
    applied = apply_plan(catalogue, cluster, time.patience(10))
    assert applied.unsettled == []
    assert len(applied.done) == len(catalogue.topics())
    assert (cluster.lag, cluster.election) == (0, 0)
    assert 0 < time.seconds < 10


def test_apply_says_what_did_not_show_in_time(catalogue: Catalogue, cluster: Cluster) -> None:
    """What was not read back is not reported as done."""
    del cluster.topics[STATUS]
    cluster.lag = 10_000
    time = Time()
    applied = apply_plan(catalogue, cluster, time.patience(5))
    assert [difference.topic for difference in applied.unsettled] == [STATUS]
    assert applied.done == []
    assert 5 <= time.seconds < 6


def test_a_topic_that_somebody_else_made_meanwhile_is_looked_at(catalogue: Catalogue, cluster: Cluster) -> None:
    """In another shape, it is not reported as created."""
    # given a cluster where a client of another team makes the topic, with one partition, just before we do
    other = cluster.topics.pop(RAW)._replace(partitions=1)

    class Racing(Cluster):
        def create(self, specs: Sequence[TopicSpec]) -> None:
            self.topics[RAW] = other
            super().create(specs)

    racing = Racing(cluster.topics)
    # when
    applied = apply_plan(catalogue, racing, Time().patience(10))
    # then
    assert (applied.done, applied.unsettled) == ([], [])
    assert [(d.topic, d.setting) for d in applied.refused] == [(RAW, "partitions")]


def test_apply_does_what_it_may_beside_what_it_refuses(catalogue: Catalogue, cluster: Cluster) -> None:
    """A refused change of one topic does not hold up the repair of another."""
    cluster.topics[RAW] = cluster.topics[RAW]._replace(partitions=6)
    change(cluster, ALERTS, unclean_leader_election_enable="true")
    applied = apply_plan(catalogue, cluster, Time().patience(10))
    assert [difference.topic for difference in applied.done] == [ALERTS]
    assert [(d.topic, d.setting) for d in applied.refused] == [(RAW, "partitions")]
    assert cluster.topics[RAW].partitions == 6


@pytest.mark.parametrize(
    ("topic", "setting", "present"),
    [
        (RAW, "retention.ms", str(90 * DAY_MS)),
        (RAW, "retention.ms", "-1"),
        (CHANGELOG, "cleanup.policy", "delete"),
    ],
)
def test_a_change_that_deletes_records_needs_to_be_allowed_by_name(
    catalogue: Catalogue, cluster: Cluster, topic: str, setting: str, present: str
) -> None:
    """Refused at first; made when the topic, and not another one, is named."""
    change(cluster, topic, **{setting: present})
    refused = only(apply_plan(catalogue, cluster, Time().patience(10), may_drop=[ALERTS]).refused)
    assert "--may-drop" in refused.advice
    assert cluster.topics[topic].config[setting] == present
    done = only(apply_plan(catalogue, cluster, Time().patience(10), may_drop=[topic]).done)
    assert (done.topic, done.setting) == (topic, setting)
    assert check_cluster(catalogue, cluster) == []


def test_compaction_of_a_raw_topic_ends_without_asking(catalogue: Catalogue, cluster: Cluster) -> None:
    """Each moment of it could drop events; ending it drops none."""
    change(cluster, RAW, cleanup_policy="compact")
    assert only(apply_plan(catalogue, cluster, Time().patience(10)).done).setting == "cleanup.policy"


def test_more_copies_in_sync_than_there_are_is_refused(catalogue: Catalogue, cluster: Cluster) -> None:
    """Applied to a topic with one copy, it would stop every write."""
    change(cluster, RAW, min_insync_replicas="1")
    cluster.topics[RAW] = cluster.topics[RAW]._replace(replication=1)
    applied = apply_plan(catalogue, cluster, Time().patience(10), may_drop=[RAW])
    assert [difference.setting for difference in applied.refused] == ["replication", "min.insync.replicas"]
    assert "no write could succeed" in applied.refused[1].advice
    assert cluster.changes == 0
