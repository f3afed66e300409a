"""The folder of an embedded cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bems_streams.local.kafka_data import EmbeddedKafkaError, broker_folder, open_data_dir, sole_use


def test_a_folder_keeps_its_cluster_id(tmp_path: Path) -> None:
    """Opening the folder again gives the same cluster."""
    first = open_data_dir(tmp_path, "4.2.2", 1)
    assert open_data_dir(tmp_path, "4.2.2", 1) == first
    assert len(first.cluster_id) == 22


@pytest.mark.parametrize(
    ("kafka", "brokers", "told"),
    [("4.3.0", 1, "Kafka version: 4.2.2 there, 4.3.0 here"), ("4.2.2", 3, "brokers: 1 there, 3 here")],
)
def test_data_of_another_cluster_is_refused(tmp_path: Path, kafka: str, brokers: int, told: str) -> None:
    """The message names what differs and what to do; the folder stays as it was."""
    # given
    card = open_data_dir(tmp_path, "4.2.2", 1)
    # when
    with pytest.raises(EmbeddedKafkaError) as refused:
        open_data_dir(tmp_path, kafka, brokers)
    # then
    assert told in str(refused.value)
    assert "--data-dir" in str(refused.value)
    assert open_data_dir(tmp_path, "4.2.2", 1) == card


@pytest.mark.parametrize("text", ["", "[]", '{"kafka": "4.2.2"}'])
def test_a_damaged_card_is_refused(tmp_path: Path, text: str) -> None:
    """A card that cannot be read is not replaced by a new one: the data could belong to anything."""
    card = tmp_path / "bems-kafka.json"
    card.write_text(text)
    with pytest.raises(EmbeddedKafkaError, match=r"bems-kafka\.json cannot be read"):
        open_data_dir(tmp_path, "4.2.2", 1)
    assert card.read_text() == text


def test_data_without_a_card_is_refused(tmp_path: Path) -> None:
    """Brokers' data of unknown origin is not adopted."""
    data = broker_folder(tmp_path, 1).data
    data.mkdir(parents=True)
    (data / "meta.properties").touch()
    with pytest.raises(EmbeddedKafkaError, match="version is unknown"):
        open_data_dir(tmp_path, "4.2.2", 1)


def test_a_folder_in_use_names_its_user(tmp_path: Path) -> None:
    """A second user is told which process has the folder; once that lets go, the folder is free."""
    told = f"started by process {os.getpid()}"
    with sole_use(tmp_path), pytest.raises(EmbeddedKafkaError, match=told), sole_use(tmp_path):
        pytest.fail("two users")
    with sole_use(tmp_path):
        assert (tmp_path / "in-use.lock").read_text() == f"{os.getpid()}\n"


def test_a_broker_left_behind_is_named(tmp_path: Path) -> None:
    """A broker that outlived its starter is found by its pid file, and the message says how to end it."""
    # given a process whose command names the broker's properties, as a broker's does
    folder = broker_folder(tmp_path, 1)
    folder.path.mkdir()
    command = [sys.executable, "-c", "print(flush=True); input()", str(folder.properties)]
    left = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert left.stdout is not None
    left.stdout.readline()  # before it runs, the kernel shows no command line
    try:
        folder.pid_file.write_text(f"{left.pid}\n")
        # when / then
        with pytest.raises(EmbeddedKafkaError, match=f"kill {left.pid}"), sole_use(tmp_path):
            pass
    finally:
        left.communicate(b"\n", timeout=10)
    with sole_use(tmp_path):
        pass


@pytest.mark.parametrize("content", [f"{os.getpid()}\n", "", "999999999\n"])
def test_a_stale_pid_file_is_no_obstacle(tmp_path: Path, content: str) -> None:
    """A pid that went to another program, no pid, and the pid of nobody do not count as a running broker."""
    folder = broker_folder(tmp_path, 1)
    folder.path.mkdir()
    folder.pid_file.write_text(content)
    with sole_use(tmp_path):
        assert folder.running_pid() is None


def test_a_folder_that_cannot_be_made_is_an_error_with_advice(tmp_path: Path) -> None:
    """A data folder below a file is refused with what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedKafkaError, match="Name another --data-dir"), sole_use(tmp_path / "file" / "data"):
        pass


def test_the_card_says_what_it_describes(tmp_path: Path) -> None:
    """The card is JSON that a person can read."""
    card = open_data_dir(tmp_path, "4.2.2", 3)
    assert json.loads((tmp_path / "bems-kafka.json").read_text()) == {
        "kafka": "4.2.2",
        "brokers": 3,
        "cluster_id": card.cluster_id,
        "layout": 1,
    }
