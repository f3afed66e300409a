"""Several workers, and workers that must not start."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.local.ports import free_ports
from bems_streams.runtime.positions import PositionError, stable_positions
from tests.integration.conftest import StartCell
from tests.integration.gateway_process import own_topics
from tests.support import RunningCell, eventually, expected_states, real_lines, shown_states

EVENTS = 9704


def partitions_held(url: str) -> int:
    """How many partition numbers a tracker has ready; -1 while it does not answer."""
    try:
        text = httpx.get(f"{url}/metrics", timeout=5, trust_env=False).text
    except httpx.TransportError:
        return -1
    return int(float(next(line.split()[1] for line in text.splitlines() if line.startswith("bems_table_partitions "))))


def second_tracker(running: RunningCell, port: int) -> None:
    """Another member of the group, with a table of its own."""
    spec = running.cell.spec("tracker")
    command = [*spec.command[: spec.command.index("tracker") + 1], "--instance", "tracker-1", "--session-seconds", "6"]
    running.cell.processes.start(replace(spec, name="second", command=[*command, "--health-port", str(port)]))


def test_two_trackers_share_the_columns_and_one_takes_over_the_rest(running_cell: StartCell) -> None:
    """Half each; when one is gone for good the other restores its tables and goes on; every state is right."""
    running = running_cell("tracker", "sink")
    (port,) = free_ports(1)
    first, second = running.cell.addresses.health["tracker"], f"http://127.0.0.1:{port}"
    lines = list(real_lines())
    running.append(lines[:3000])
    second_tracker(running, port)
    eventually(lambda: (partitions_held(first), partitions_held(second)), lambda held: held == (6, 6))
    running.append(lines[3000:6000])
    running.settle(6000)

    running.cell.processes.stop("tracker", 0.0)  # SIGTERM and at once SIGKILL: no orderly leave
    running.append(lines[6000:])

    account = running.settle(EVENTS)
    assert account.stored == EVENTS
    assert partitions_held(second) == 12
    eventually(lambda: shown_states(running.statuses()) == expected_states(), bool)


def test_a_worker_refuses_a_cluster_that_could_misplace_events(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Topics with other partition counts than the catalogue: it says so, names the way out, and does not start."""
    topics = own_topics(tmp_path)
    topics.apply(kafka.bootstrap)
    environment = {**os.environ, "BEMS_PARTITIONS": "24", "BEMS_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "bems_streams", "worker", "tracker", "--bootstrap", kafka.bootstrap]

    ended = subprocess.run(
        [*command, "--catalogue", str(topics.path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "could lose or misplace events" in ended.stderr
    assert "bems topics plan" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_empty_instance_name_is_refused(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """It would make all workers one member of the group, each reading everything."""
    command = [sys.executable, "-m", "bems_streams", "worker", "sink", "--bootstrap", kafka.bootstrap, "--instance", ""]

    ended = subprocess.run(
        command,
        env={**os.environ, "BEMS_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "empty instance name" in ended.stderr


def test_records_deleted_unread_stop_the_worker(kafka: EmbeddedKafka) -> None:
    """A committed position below the log's start is never reset in silence: the message says what is missing."""
    config = {"bootstrap.servers": kafka.bootstrap}
    admin = AdminClient({**config})
    topic = "deleted-unread"
    for created in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        created.result(30)
    producer = Producer(config)
    for number in range(10):
        producer.produce(topic, str(number).encode(), partition=0)
    assert producer.flush(30) == 0
    consumer = Consumer({**config, "group.id": "deleted"})
    consumer.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
    consumer.close()
    assert stable_positions(config, "deleted", [(topic, 0)], 30.0) == {(topic, 0): 3}

    for deleted in admin.delete_records([TopicPartition(topic, 0, 7)]).values():
        deleted.result(30)

    with pytest.raises(PositionError, match=r"committed at 3, but the log holds 7\.\.10"):
        stable_positions(config, "deleted", [(topic, 0)], 30.0)


def test_sigterm_finishes_what_is_in_flight_and_leaves(running_cell: StartCell) -> None:
    """Asked to stop in the middle of a feed, workers end with 0; started again, nothing is lost or done twice."""
    running = running_cell("tracker", "sink")
    lines = list(real_lines())
    running.append(lines[:5000])
    eventually(lambda: running.reader.counts().stored, lambda stored: stored > 0)

    codes = {role: running.cell.processes.stop(role, 30.0).exit_code for role in ("tracker", "sink")}
    for role in ("tracker", "sink"):
        running.cell.processes.start(replace(running.cell.spec(role), name=f"{role}-again"))
    running.append(lines[5000:])

    assert codes == {"tracker": 0, "sink": 0}
    account = running.settle(EVENTS)
    assert (account.stored, account.duplicates) == (EVENTS, 0)
