"""What brokers are told."""

from pathlib import Path

import pytest

from bems_streams.local.kafka_broker import telling_lines
from bems_streams.local.kafka_config import BrokerAddress, server_properties

ONE = [BrokerAddress(1, 9092, 9093)]
THREE = [BrokerAddress(n, 9090 + n, 9190 + n) for n in (1, 2, 3)]


def parsed(text: str) -> dict[str, str]:
    """Name to value; no name may stand twice."""
    pairs = [(name, value) for name, _, value in (line.partition("=") for line in text.splitlines())]
    settings = dict(pairs)
    assert len(settings) == len(pairs)
    return settings


def test_everything_listens_on_loopback_only() -> None:
    """No address of a broker can be reached from another machine."""
    settings = parsed(server_properties(2, THREE, Path("/data")))
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9192"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:9191,2@127.0.0.1:9192,3@127.0.0.1:9193"


@pytest.mark.parametrize(("cluster", "replicas", "in_sync"), [(ONE, "1", "1"), (THREE, "3", "2")])
def test_replication_suits_the_number_of_brokers(cluster: list[BrokerAddress], replicas: str, in_sync: str) -> None:
    """Three brokers keep three copies and accept with two; one broker keeps one; internal topics alike."""
    settings = parsed(server_properties(1, cluster, Path("/data")))
    for name in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert settings[f"{name}.replication.factor"] == replicas
    for name in ("min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"):
        assert settings[name] == in_sync


def test_topics_are_never_made_by_accident() -> None:
    """A misspelt topic fails instead of coming into being."""
    assert parsed(server_properties(1, ONE, Path("/data")))["auto.create.topics.enable"] == "false"


def test_a_folder_of_any_name_reaches_kafka_unchanged() -> None:
    r"""Backslashes and letters beyond ASCII are written as java.util.Properties reads them."""
    # given a folder with spaces, an umlaut, an emoji and a backslash
    folder = Path("/home/Jörg Müller/a\\b/😀")
    # when
    value = parsed(server_properties(1, ONE, folder))["log.dirs"]
    # then
    assert value == "/home/J\\u00f6rg M\\u00fcller/a\\\\b/\\ud83d\\ude00"


def test_a_failed_start_shows_the_lines_that_tell_why(tmp_path: Path) -> None:
    """Errors since this start are shown; routine lines and errors of earlier runs are not."""
    # given the log of an earlier run, then of this one
    log = tmp_path / "kafka.log"
    log.write_text("ERROR yesterday's\n")
    starts_at = log.stat().st_size
    with log.open("a") as file:
        file.write("INFO starting\nERROR Exiting Kafka\nCaused by: java.net.BindException: in use\nINFO shut down\n")
    # when
    shown = telling_lines(log, starts_at)
    # then
    assert shown == ["ERROR Exiting Kafka", "Caused by: java.net.BindException: in use"]


def test_a_failed_start_without_errors_shows_its_last_lines(tmp_path: Path) -> None:
    """When no line names an error, the end of the log is shown; when there is no log, that is said."""
    log = tmp_path / "kafka.log"
    assert telling_lines(log, 0) == ("(nothing was written)",)
    log.write_text("".join(f"INFO line {n}\n" for n in range(100)))
    assert telling_lines(log, 0) == [f"INFO line {n}" for n in range(88, 100)]
