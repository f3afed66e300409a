"""`bems topics` against a real Kafka."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from click.testing import CliRunner, Result
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its package re-exports them implicitly
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin, refuse_unsafe_cluster
from bems_streams.cli.main import main
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.topics import Catalogue, load_catalogue
from bems_streams.topics_plan import TopicAdminError, UnsafeClusterError

SHIPPED = Path(__file__).parents[2] / "topics.yaml"
Bems = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A catalogue with topic names of its own and few partitions, since all tests share one broker."""
    document: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    prefix = f"t{uuid4().hex[:8]}"
    document["partitions"] = 2
    document["topics"] = {f"{prefix}.{name}": topic for name, topic in document["topics"].items()}
    path = tmp_path / "topics.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.fixture
def catalogue(file: Path) -> Catalogue:
    """What the file says."""
    return load_catalogue(file)


@pytest.fixture
def raw(catalogue: Catalogue) -> str:
    """One raw topic."""
    return catalogue.stage_topics["ingestion"]


@pytest.fixture
def client(kafka: EmbeddedKafka, catalogue: Catalogue) -> Iterator[AdminClient]:
    """What somebody with other tools does to the cluster. Takes the test's topics away in the end."""
    client = AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    yield client
    mine = [name for name in client.list_topics(timeout=10).topics if catalogue.could_have_made(name)]
    for answer in client.delete_topics(mine).values() if mine else ():
        answer.result(30)


@pytest.fixture
def bems(kafka: EmbeddedKafka, file: Path, client: AdminClient) -> Bems:
    """Run `bems topics …` against the broker."""

    def run(*arguments: str) -> Result:
        where = ["--bootstrap", kafka.bootstrap, "--catalogue", str(file)]
        return CliRunner().invoke(main, ["topics", *arguments, *where])

    return run


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Poll until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not hold in time"
        time.sleep(0.1)


def config_of(client: AdminClient, topic: str, setting: str) -> str | None:
    """The setting in force."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    value: str | None = client.describe_configs([resource])[resource].result(10)[setting].value
    return value


def set_config(client: AdminClient, topic: str, setting: str, value: str) -> None:
    """Change one setting by hand, and wait until it is in force."""
    entry = ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client.incremental_alter_configs([resource])[resource].result(10)
    eventually(lambda: config_of(client, topic, setting) == value)


def create(client: AdminClient, topic: str) -> None:
    """Make a topic of one partition by hand, and wait until it shows."""
    client.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)
    eventually(lambda: topic in client.list_topics(timeout=10).topics)


def differences(result: Result) -> list[tuple[str, str, str, bool]]:
    """What a command with --json printed: topic, setting, remedy, unsafe."""
    return [(d["topic"], d["setting"], d["remedy"], d["unsafe"]) for d in json.loads(result.stdout)]


def test_plan_apply_check_and_apply_again(bems: Bems, kafka: EmbeddedKafka, catalogue: Catalogue) -> None:
    """An empty cluster gets every topic as the catalogue says; repeating it does nothing."""
    names = [spec.name for spec in catalogue.topics()]
    planned = bems("plan", "--json")
    assert planned.exit_code == 0, planned.output
    assert differences(planned) == [(name, "topic", "create", True) for name in names]
    assert bems("check").exit_code == 1

    applied = bems("apply")
    assert applied.exit_code == 0, applied.output
    assert f"created {len(names)}, altered 0 settings, read back" in applied.output

    checked = bems("check")
    assert (checked.exit_code, checked.output) == (0, "The cluster's topics are what the catalogue says.\n")
    found = KafkaTopicAdmin(kafka.bootstrap, 10).describe(names)
    for spec in catalogue.topics():
        topic = found[spec.name]
        assert (topic.partitions, topic.replication, topic.leaderless) == (2, 1, 0)
        assert {name: topic.config[name] for name in spec.config} == spec.config

    again = bems("apply")
    assert again.exit_code == 0
    assert "nothing to create or alter" in again.output


def test_settings_changed_by_hand_are_shown_and_repaired(bems: Bems, client: AdminClient, raw: str) -> None:
    """Plan names topic, setting, both values and the danger; apply sets them back; settings of others stay."""
    assert (done := bems("apply")).exit_code == 0, done.output
    set_config(client, raw, "message.timestamp.type", "CreateTime")
    set_config(client, raw, "cleanup.policy", "compact")
    set_config(client, raw, "file.delete.delay.ms", "12345")
    planned = bems("plan")
    assert planned.exit_code == 0
    line = next(line for line in planned.output.splitlines() if "message.timestamp.type" in line)
    assert line.split()[:5] == [raw, "message.timestamp.type", "CreateTime", "LogAppendTime", "alter"]
    assert "Differences: 2, of which 2 could lose or misplace events." in planned.output

    applied = bems("apply")
    assert applied.exit_code == 0, applied.output
    assert "created 0, altered 2 settings, read back" in applied.output
    assert bems("check").exit_code == 0
    assert config_of(client, raw, "file.delete.delay.ms") == "12345"


def test_a_topic_with_other_partitions_is_refused_and_left_alone(
    bems: Bems, kafka: EmbeddedKafka, client: AdminClient, raw: str
) -> None:
    """Apply makes the other topics, says why not this one and what to do, and exits with 1."""
    create(client, raw)
    applied = bems("apply")
    assert applied.exit_code == 1
    assert "Not changed, because it needs your decision" in applied.output
    assert "BEMS_PARTITIONS" in applied.output
    assert KafkaTopicAdmin(kafka.bootstrap, 10).describe([raw])[raw].partitions == 1
    assert differences(bems("check", "--json")) == [(raw, "partitions", "refuse", True)]


def test_a_shorter_retention_is_applied_only_by_name(bems: Bems, client: AdminClient, raw: str) -> None:
    """It deletes records for good."""
    assert (done := bems("apply")).exit_code == 0, done.output
    set_config(client, raw, "retention.ms", "-1")
    refused = bems("apply")
    assert refused.exit_code == 1
    assert "--may-drop" in refused.output
    assert bems("apply", "--may-drop", "no-such-topic").exit_code == 2
    assert bems("apply", "--may-drop", raw).exit_code == 0
    assert bems("check").exit_code == 0


def test_a_topic_of_a_removed_stage_fails_the_check_and_is_kept(bems: Bems, client: AdminClient, raw: str) -> None:
    """Deleting is for people."""
    left_over = raw.replace("ingestion", "approval")
    create(client, left_over)
    assert bems("apply").exit_code == 1
    checked = bems("check", "--json")
    assert checked.exit_code == 1
    assert differences(checked) == [(left_over, "topic", "refuse", False)]


def test_more_copies_than_brokers_is_refused_with_what_to_do(bems: Bems) -> None:
    """A production catalogue on a laptop."""
    result = bems("apply", "--replication", "3", "--min-insync", "2")
    assert result.exit_code == 2
    assert "BEMS_REPLICATION" in result.output


def test_a_worker_refuses_a_cluster_that_could_lose_events(
    bems: Bems, kafka: EmbeddedKafka, client: AdminClient, catalogue: Catalogue, raw: str
) -> None:
    """It starts on a good one, and names every reason on a bad one."""
    with pytest.raises(UnsafeClusterError, match=f"{raw}: topic is missing"):
        refuse_unsafe_cluster(catalogue, kafka.bootstrap, 10)
    assert (done := bems("apply")).exit_code == 0, done.output
    refuse_unsafe_cluster(catalogue, kafka.bootstrap, 10)
    set_config(client, raw, "retention.ms", "1000")
    set_config(client, catalogue.alerts_topic, "cleanup.policy", "compact")
    with pytest.raises(UnsafeClusterError) as raised:
        refuse_unsafe_cluster(catalogue, kafka.bootstrap, 10)
    assert {(d.topic, d.setting) for d in raised.value.differences} == {
        (raw, "retention.ms"),
        (catalogue.alerts_topic, "cleanup.policy"),
    }


def test_creating_a_topic_that_exists_changes_nothing(
    kafka: EmbeddedKafka, client: AdminClient, catalogue: Catalogue, raw: str
) -> None:
    """Two that apply at the same moment do not disturb each other."""
    create(client, raw)
    admin = KafkaTopicAdmin(kafka.bootstrap, 10)
    admin.create(catalogue.topics())
    eventually(lambda: len(admin.describe([spec.name for spec in catalogue.topics()])) == len(catalogue.topics()))
    assert admin.describe([raw])[raw].partitions == 1


def test_what_the_broker_refuses_is_named_topic_by_topic(
    kafka: EmbeddedKafka, client: AdminClient, catalogue: Catalogue, raw: str
) -> None:
    """With the setting it does not like, and the others untouched."""
    create(client, raw)
    with pytest.raises(TopicAdminError, match=f"(?s){raw}: .*retention.*nowhere: ") as raised:
        KafkaTopicAdmin(kafka.bootstrap, 10).alter({raw: {"retention.ms": "soon"}, "nowhere": {"retention.ms": "1"}})
    assert "running this again is safe" in str(raised.value)


@pytest.mark.parametrize("subcommand", ["plan", "check", "apply"])
def test_a_broker_that_is_away_is_said_quickly(file: Path, subcommand: str) -> None:
    """Within moments, with the reason and how to say where it is; not the exit code of a difference."""
    with socket.socket() as taken:  # bound, not listening: refuses connections
        taken.bind(("127.0.0.1", 0))
        bootstrap = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        arguments = ["topics", subcommand, "--bootstrap", bootstrap, "--catalogue", str(file)]
        result = CliRunner().invoke(main, arguments)
    assert time.monotonic() - began < 3
    assert result.exit_code == 2
    assert "Connection refused" in result.output
    assert "--bootstrap" in result.output


def test_a_server_that_is_no_kafka_is_said_in_time() -> None:
    """Something accepts connections but never answers: the timeout ends it, with a reason."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        began = time.monotonic()
        admin = KafkaTopicAdmin(f"127.0.0.1:{mute.getsockname()[1]}", 1.0)
        with pytest.raises(TopicAdminError, match="no usable answer within 1 s"):
            admin.names()
        assert time.monotonic() - began < 5


def test_an_unreadable_catalogue_is_said_with_every_problem(bems: Bems, file: Path) -> None:
    """Not as a difference of the cluster."""
    file.write_text("partitions: 100\ncolour: red\n")
    result = bems("check")
    assert result.exit_code == 2
    assert "line 1: partitions" in result.output
    assert "line 2: colour: unknown key" in result.output
