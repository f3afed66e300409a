"""The embedded Kafka is a real one: it keeps data, says what is wrong, leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer

from bems_streams.local.kafka import EmbeddedKafka, EmbeddedKafkaError
from bems_streams.local.kafka_dist import default_cache_dir
from bems_streams.local.ports import free_ports
from tests.integration.kafka_client import new_topic, read_all, until, write


def gone(pid: int) -> bool:
    """Whether no process has that pid any more (a zombie that nobody reaps has ended too)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_group_reads_what_was_written(kafka: EmbeddedKafka) -> None:
    """Records that were acknowledged are what a consumer group gets."""
    # given
    topic = new_topic(kafka.bootstrap)
    assert write(kafka.bootstrap, topic, ["a", "b"]) == {"a", "b"}
    # when
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    got = [consumer.poll(30), consumer.poll(30)]
    consumer.close()
    # then
    assert sorted((message.value() or b"") for message in got if message is not None) == [b"a", b"b"]


def test_data_stays_between_starts_and_no_process_does(tmp_path: Path) -> None:
    """After a stop no process and no pid file is left; after the next start everything written is there."""
    # given
    kafka = EmbeddedKafka(tmp_path)
    kafka.start()
    topic = new_topic(kafka.bootstrap)
    write(kafka.bootstrap, topic, ["one", "two"])
    (pid,) = kafka.pids.values()
    # when
    kafka.stop()
    # then
    assert gone(pid)
    assert kafka.pids == {}
    assert not list(tmp_path.glob("*/*.pid"))
    with EmbeddedKafka(tmp_path) as again:
        assert read_all(again.bootstrap, topic) == ["one", "two"]


def test_a_crash_of_the_broker_loses_nothing(tmp_path: Path) -> None:
    """After SIGKILL and a restart the broker has its old port and every acknowledged record."""
    with EmbeddedKafka(tmp_path) as kafka:
        # given
        topic, address, first = new_topic(kafka.bootstrap), kafka.bootstrap, kafka.pids[1]
        written = write(address, topic, [str(n) for n in range(100)])
        # when
        kafka.kill(1)
        assert gone(first)
        assert kafka.pids == {}
        kafka.restart(1)
        # then
        assert kafka.bootstrap == address
        assert kafka.pids[1] != first
        assert len(written) == 100
        assert set(read_all(address, topic)) == written


def test_a_folder_that_is_in_use_is_refused(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A second Kafka on the folder is refused with the process that has it; the first is not disturbed."""
    with EmbeddedKafka(tmp_path) as first:
        with pytest.raises(EmbeddedKafkaError, match=f"runs already on .*process {os.getpid()}"):
            EmbeddedKafka(tmp_path).start()
        assert read_all(first.bootstrap, new_topic(first.bootstrap)) == []


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that another program has is named before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedKafkaError, match=rf"Port {port} .* is taken.* another port"):
            EmbeddedKafka(tmp_path, ports=[port]).start()
    assert not list(tmp_path.glob("broker-*/kafka.log"))


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    """Data that another Kafka wrote is not touched; the message names both versions."""
    card = {"kafka": "3.9.1", "brokers": 1, "cluster_id": "x" * 22, "layout": 1}
    (tmp_path / "bems-kafka.json").write_text(json.dumps(card))
    with pytest.raises(EmbeddedKafkaError, match=r"Kafka version: 3\.9\.1 there, 4\..* here"):
        EmbeddedKafka(tmp_path).start()
    assert not list(tmp_path.glob("broker-*"))


def test_a_download_that_fails_says_what_to_do(tmp_path: Path) -> None:
    """Without a reachable repository the message says how to name another, and nothing is left behind."""
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/maven"
    with pytest.raises(EmbeddedKafkaError, match=r"could not be fetched.*\n.*--repository URL"):
        EmbeddedKafka(tmp_path / "data", cache_dir=tmp_path / "cache", repository=nobody).start()
    assert not (tmp_path / "data").exists()


def test_a_broker_that_cannot_start_shows_why(tmp_path: Path) -> None:
    """The telling lines of its log are in the message, and nothing is left running or locked."""
    # given a broker's folder that says it is another broker's
    with EmbeddedKafka(tmp_path):
        pass
    card = tmp_path / "broker-1/data/meta.properties"
    whole = card.read_text()
    card.write_text(whole.replace("node.id=1", "node.id=7"))
    kafka = EmbeddedKafka(tmp_path)
    # when
    with pytest.raises(EmbeddedKafkaError) as failed:
        kafka.start()
    # then
    assert "ended with code 1" in str(failed.value)
    assert "Stored node id 7 doesn't match" in str(failed.value)
    assert kafka.pids == {}
    # and once mended, it starts
    card.write_text(whole)
    with kafka:
        assert list(kafka.pids) == [1]


@pytest.mark.parametrize(("brokers", "ports"), [(2, None), (0, None), (1, [1, 2]), (3, [5, 5, 6])])
def test_a_shape_that_makes_no_cluster_is_refused(tmp_path: Path, brokers: int, ports: list[int] | None) -> None:
    """One broker or three, each with a port of its own."""
    with pytest.raises(EmbeddedKafkaError, match=r"1 broker or 3|one port for each"):
        EmbeddedKafka(tmp_path, brokers=brokers, ports=ports)


STARTER = """
import sys, time
from pathlib import Path
from bems_streams.local.kafka import EmbeddedKafka
kafka = EmbeddedKafka(Path(sys.argv[1]))
kafka.start()
print(kafka.pids[1], flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_no_broker_outlives_a_killed_parent(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """When the process that started it is killed with SIGKILL, the broker is gone at once and the folder is free."""
    # given
    parent = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    # when
    parent.kill()
    parent.communicate(timeout=30)
    # then
    until(lambda: gone(pid), "the broker is gone", deadline_seconds=10)
    with EmbeddedKafka(tmp_path) as next_one:
        assert list(next_one.pids) == [1]


def test_the_command_runs_a_broker_until_asked_to_stop(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """`bems local kafka` needs nothing on PATH, prints the address, restarts a dead broker and stops with code 0."""
    # given a user with an empty home and nothing on PATH; the jars are there (the `kafka` fixture has fetched them)
    environment = {"PATH": "/nonexistent", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(default_cache_dir().parent)}
    options = ["local", "kafka", "--port", "0", "--data-dir", "data"]
    command = [sys.executable, "-c", "from bems_streams.cli.main import main; main()", *options]
    bems = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert bems.stdout is not None
        bootstrap = bems.stdout.readline().decode().strip()
        pid_file = tmp_path / "data/broker-1/broker.pid"
        first = int(pid_file.read_text())
        topic = new_topic(bootstrap)
        assert write(bootstrap, topic, ["a"]) == {"a"}
        assert "java-runtime" in psutil.Process(first).exe()
        # when the broker dies
        os.kill(first, signal.SIGKILL)
        # then it comes back, on the same port, with its data
        until(lambda: pid_file.exists() and pid_file.read_text() not in ("", f"{first}\n"), "it was restarted")
        second = int(pid_file.read_text())
        assert read_all(bootstrap, topic) == ["a"]
        # and when it is asked to stop, nothing is left
        bems.send_signal(signal.SIGTERM)
        _, said = bems.communicate(timeout=60)
        assert bems.returncode == 0, said.decode()
        assert b"Kafka is stopped; its data stays." in said
        assert gone(second)
        assert not pid_file.exists()
    finally:
        bems.kill()
        bems.communicate(timeout=30)
