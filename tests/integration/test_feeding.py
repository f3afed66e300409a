"""Feeding a real gateway over a real Kafka: what the feeder says it sent is what the topics hold."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bems_streams.cli.main import main
from bems_streams.domain.event import Event, parse_event
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.local.ports import free_ports
from tests.integration.gateway_process import OwnTopics, own_topics, poll, records, running_gateway
from tests.integration.test_gateway import REAL_LOG


def loads(path: Path) -> Any:
    return json.loads(path.read_text())


def held(kafka: EmbeddedKafka, topics: OwnTopics) -> list[bytes]:
    """The values of all records of all stage topics."""
    found = records(kafka.bootstrap, [*topics.catalogue.stage_topics.values()])
    return [message.value() or b"" for message in found.values()]


def test_the_real_log_is_fed_unchanged(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """9,704 events of 676 invoices, straight from the file: each accepted, each in the topics with its bytes."""
    if not REAL_LOG.is_file():
        pytest.fail(f"the real log is not at {REAL_LOG}; set BEMS_REAL_LOG to the path of bpic2019-sample.jsonl.gz")
    topics = own_topics(tmp_path)
    topics.apply(kafka.bootstrap)
    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway:
        gateway.await_ready()
        summary = tmp_path / "summary.json"
        result = CliRunner().invoke(main, ["feed", str(REAL_LOG), "--url", gateway.url, "--json", str(summary)])
    assert result.exit_code == 0, result.output
    fed = loads(summary)
    assert (fed["offered"], fed["accepted"], fed["rejected"], fed["gave_up"]) == (9_704, 9_704, 0, 0)
    with gzip.open(REAL_LOG) as lines:
        assert sorted(held(kafka, topics)) == sorted(line.rstrip(b"\n") for line in lines)
    assert sum(offset + 1 for offset in fed["highest_offsets"].values()) == 9_704


def test_a_gateway_killed_in_the_middle_loses_nothing(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """SIGKILL while events are under way, then a new gateway at the same address: every valid event is in the log."""
    # given
    topics = own_topics(tmp_path)
    topics.apply(kafka.bootstrap)
    (port,) = free_ports(1)
    summary = tmp_path / "summary.json"
    with running_gateway(kafka.bootstrap, topics, tmp_path, "--port", str(port)) as gateway:
        gateway.await_ready()
        feeding = subprocess.Popen(
            [
                *(sys.executable, "-m", "bems_streams", "simulate", "--invoices", "600", "--rate", "1500"),
                *("--url", gateway.url, "--json", str(summary), "--show", "0", "--give-up-after", "120"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        poll(lambda: len(held(kafka, topics)) > 500, 60)
        # when
        gateway.close()
    with running_gateway(kafka.bootstrap, topics, tmp_path, "--port", str(port)):
        _, error = feeding.communicate(timeout=180)
    # then
    assert feeding.returncode == 0, error
    fed = loads(summary)
    truth = fed["ground_truth"]
    assert fed["retries"] > 0
    assert (fed["accepted"], fed["rejected"]) == (truth["valid"] + truth["duplicates"], truth["invalid"])
    events = [event for raw in held(kafka, topics) if isinstance(event := parse_event(raw), Event)]
    assert len({(event.invoice_id, event.event_id) for event in events}) == truth["valid"]
    assert len(events) >= fed["accepted"]


def test_poison_goes_past_the_gateway_and_is_counted_apart(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Bad records are in the topics beside the good events, and the summary keeps them apart."""
    topics = own_topics(tmp_path)
    topics.apply(kafka.bootstrap)
    summary = tmp_path / "summary.json"
    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway:
        gateway.await_ready()
        arguments = ["simulate", "--invoices", "30", "--rate", "0", "--url", gateway.url, "--json", str(summary)]
        arguments += ["--poison", "27", "--bootstrap", kafka.bootstrap, "--catalogue", str(topics.path)]
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    fed = loads(summary)
    values = held(kafka, topics)
    assert fed["poison"] == {"written": 27, "failed": 0, "reason": None}
    assert len(values) == fed["accepted"] + 27
    bad = Counter(isinstance(parse_event(value), Event) for value in values)
    assert bad[False] == 21  # the other six are good events in the wrong place
