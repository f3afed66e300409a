"""The gateway over a real Kafka: its receipts are true, whatever is killed."""

import gzip
import json
import os
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, murmur2

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.local.ports import free_ports
from tests.integration.gateway_process import (
    REPOSITORY,
    GatewayProcess,
    event,
    own_topics,
    poll,
    records,
    running_gateway,
)

REAL_LOG = Path(os.environ.get("BEMS_REAL_LOG", REPOSITORY.parent / "shared" / "data" / "bpic2019-sample.jsonl.gz"))
SENDERS = 8


def place(receipt: dict[str, Any]) -> tuple[str, int, int]:
    """Where a receipt says the record is."""
    return receipt["topic"], receipt["partition"], receipt["offset"]


def test_a_receipt_names_a_record_with_the_very_bytes(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """One event and a batch: value, key, partition, headers and broker time are what the receipt and sender say."""
    topics = own_topics(tmp_path)
    topics.create(kafka.bootstrap)
    raws = [json.dumps(event(n, activity="Réception"), indent=n, ensure_ascii=False).encode() for n in range(1, 40)]
    json_type = {"Content-Type": "application/json", "X-Correlation-Id": "corr-1"}

    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway, gateway.client() as client:
        gateway.await_ready()
        one = client.post("/v1/ingestion/events", content=raws[0], headers=json_type)
        many = client.post("/v1/ingestion/events", content=b"[" + b", ".join(raws[1:]) + b"]", headers=json_type)
        code = gateway.stop()

    assert (one.status_code, many.status_code, code) == (202, 202, 0)
    receipts = [one.json(), *many.json()["items"]]
    found = records(kafka.bootstrap, [topics.catalogue.stage_topics["ingestion"]])
    assert len(found) == len(raws)
    for raw, receipt in zip(raws, receipts, strict=True):
        message = found[place(receipt)]
        key = json.loads(raw)["invoice_id"].encode()
        assert message.value() == raw
        assert message.key() == key
        assert message.partition() == murmur2(key, topics.catalogue.partitions)
        assert message.headers() == [("correlation-id", b"corr-1"), ("cell", b"cell-7")]
        accepted_ms = round(datetime.fromisoformat(receipt["accepted_at"]).timestamp() * 1000)
        assert message.timestamp() == (TIMESTAMP_LOG_APPEND_TIME, accepted_ms)
        assert receipt["receipt"] == f"cell-7/{message.topic()}/{message.partition()}/{message.offset()}"


def test_missing_topics_are_named_until_they_are_created(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """The gateway starts, refuses, says what to do, and takes events once it is done."""
    topics = own_topics(tmp_path)

    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway, gateway.client() as client:
        poll(lambda: "bems topics apply" in gateway.readiness().text, 30)
        refused = client.post("/v1/posting/events", json=event(1, "posting"))
        topics.create(kafka.bootstrap)
        gateway.await_ready()
        accepted = client.post("/v1/posting/events", json=event(1, "posting"))

    assert (refused.status_code, accepted.status_code) == (503, 202)
    assert len(records(kafka.bootstrap, [topics.catalogue.stage_topics["posting"]])) == 1


def test_a_cluster_that_would_lose_back_dated_events_gets_none(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """A topic that keeps records by the sender's clock is refused by name, until it is repaired."""
    topics = own_topics(tmp_path)
    topics.create(kafka.bootstrap)
    topic = topics.catalogue.stage_topics["posting"]
    admin = KafkaTopicAdmin(kafka.bootstrap, 10)
    admin.alter({topic: {"message.timestamp.type": "CreateTime"}})
    poll(lambda: admin.describe([topic])[topic].config["message.timestamp.type"] == "CreateTime", 30)

    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway, gateway.client() as client:
        poll(lambda: topic in gateway.readiness().text, 30, lambda: gateway.readiness().text)
        refused = client.post("/v1/ingestion/events", json=event(1))
        topics.apply(kafka.bootstrap)
        gateway.await_ready()
        accepted = client.post("/v1/ingestion/events", json=event(1))

    assert (refused.status_code, accepted.status_code) == (503, 202)


def test_senders_that_vanish_leave_nothing_in_flight(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """Connections cut in the middle of a body, or before the answer, cost nothing afterwards."""
    topics = own_topics(tmp_path)
    topics.create(kafka.bootstrap)
    head = (
        "POST /v1/ingestion/events HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
    )

    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway, gateway.client() as client:
        gateway.await_ready()
        for number in range(20):
            body = json.dumps(event(number)).encode()
            for sent in (body, body[:10]):
                with socket.create_connection((gateway.host, gateway.port), 10) as connection:
                    connection.sendall(head.format(len(body)).encode() + sent)

        def settled() -> bool:
            lines = client.get("/metrics").text.splitlines()
            gone = 'bems_gateway_requests_total{status="disconnected"} 20.0'
            done = 'bems_gateway_events_total{outcome="accepted",stage="ingestion"} 20.0'
            return {gone, done, "bems_gateway_in_flight_events 0.0"} <= set(lines)

        poll(settled, 20, lambda: client.get("/metrics").text)


def test_a_broker_that_comes_dies_and_returns_costs_no_receipt(tmp_path: Path) -> None:
    """503 before it is there and while it is away, 202 again by itself, and every 202 is in the log."""
    (port,) = free_ports(1)
    topics = own_topics(tmp_path)
    receipts: list[dict[str, Any]] = []
    options = ("--delivery-timeout-seconds", "3")

    with running_gateway(f"127.0.0.1:{port}", topics, tmp_path, *options) as gateway, gateway.client() as client:

        def send(number: int) -> int:
            reply = client.post("/v1/ingestion/events", json=event(number))
            receipts.extend([reply.json()] if reply.status_code == 202 else [])
            assert reply.status_code == 202 or "retry-after" in reply.headers
            return reply.status_code

        assert send(0) == 503
        with EmbeddedKafka(tmp_path / "kafka", ports=[port]) as kafka:
            topics.create(kafka.bootstrap)
            gateway.await_ready()
            poll(lambda: send(1) == 202, 30)
            assert [send(number) for number in range(2, 20)] == [202] * 18

            kafka.kill(1)
            assert [send(number) for number in range(20, 23)] == [503] * 3
            poll(lambda: gateway.readiness().status_code == 503, 30)
            assert send(23) == 503

            kafka.restart(1)
            gateway.await_ready()
            poll(lambda: send(24) == 202, 30)
            assert [send(number) for number in range(25, 40)] == [202] * 15
            found = records(kafka.bootstrap, [topics.catalogue.stage_topics["ingestion"]])

    for receipt in receipts:
        assert json.loads(found[place(receipt)].value() or b"")["event_id"] == receipt["event_id"]
    assert [receipt["event_id"] for receipt in receipts] == [f"e-{n}" for n in (*range(1, 20), *range(24, 40))]


def test_a_broker_that_hangs_gets_an_honest_answer(tmp_path: Path) -> None:
    """503 that claims neither that the event was written nor that it was not, also when the gateway is told to stop."""
    topics = own_topics(tmp_path)
    options = ("--delivery-timeout-seconds", "5", "--health-port", "0")
    with (
        EmbeddedKafka(tmp_path / "kafka") as kafka,
        running_gateway(kafka.bootstrap, topics, tmp_path, *options) as gateway,
        gateway.client() as client,
    ):
        topics.create(kafka.bootstrap)
        gateway.await_ready()
        poll(lambda: client.post("/v1/ingestion/events", json=event(1)).status_code == 202, 30)
        replies: list[httpx.Response] = []
        waiting = threading.Thread(
            target=lambda: replies.append(client.post("/v1/ingestion/events", json=event(2)))  # holds until the timeout
        )

        os.kill(kafka.pids[1], signal.SIGSTOP)
        try:
            waiting.start()
            with httpx.Client(base_url=gateway.health_url(), trust_env=False, timeout=10) as probe:
                poll(lambda: "bems_gateway_in_flight_events 1.0" in probe.get("/metrics").text, 10)
                gateway.process.terminate()
                poll(lambda: probe.get("/readyz").json().get("reason") == "stopping", 4)
            waiting.join(30)
            code = gateway.process.wait(30)
        finally:
            os.kill(kafka.pids[1], signal.SIGCONT)

    assert code == 0
    (reply,) = replies
    assert reply.status_code == 503
    assert reply.json()["detail"].startswith("may or may not be written")


def test_a_stop_under_load_breaks_no_promise(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """SIGTERM: exit code 0, requests under way are answered, and every 202 is in the log.

    The topics are so new that the broker still refuses some records, and librdkafka calls some of those delivered.
    """
    topics = own_topics(tmp_path)
    topics.apply(kafka.bootstrap)
    receipts: list[dict[str, Any]] = []
    others: set[tuple[int, str]] = set()

    def sender(gateway: GatewayProcess, first: int) -> None:
        with gateway.client() as client:
            for start in range(first, first + 1_000_000, 20):
                try:
                    reply = client.post("/v1/ingestion/events", json=[event(start + n) for n in range(20)])
                except httpx.TransportError:
                    return  # the listener is closed
                for item in reply.json()["items"]:
                    if item["status"] == 202:
                        receipts.append(item)
                    else:
                        others.add((item["status"], item["detail"].partition(":")[0]))

    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway:
        gateway.await_ready()
        senders = [threading.Thread(target=sender, args=(gateway, n * 1_000_000)) for n in range(SENDERS)]
        for thread in senders:
            thread.start()
        poll(lambda: len(receipts) > 2_000, 60)
        code = gateway.stop()
        for thread in senders:
            thread.join(30)

    found = records(kafka.bootstrap, [topics.catalogue.stage_topics["ingestion"]])
    assert code == 0
    assert others <= {(503, "may or may not be written")}
    assert len({place(receipt) for receipt in receipts}) == len(receipts)
    for receipt in receipts:
        assert json.loads(found[place(receipt)].value() or b"")["event_id"] == receipt["event_id"]


def real_events() -> Iterator[tuple[str, bytes]]:
    """Stage and line of every event of the real log, in its order."""
    if not REAL_LOG.is_file():
        pytest.fail(f"the real log is not at {REAL_LOG}; set BEMS_REAL_LOG to the path of bpic2019-sample.jsonl.gz")
    with gzip.open(REAL_LOG, "rb") as lines:
        for line in lines:
            yield json.loads(line)["stage"], line.rstrip(b"\n")


def test_the_real_log_is_accepted_to_the_last_event(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    """9,704 real events, in batches per stage, squeezed: each is accepted and in its stage's topic byte for byte."""
    topics = own_topics(tmp_path)
    topics.create(kafka.bootstrap)
    by_stage: dict[str, list[bytes]] = defaultdict(list)
    for stage, line in real_events():
        by_stage[stage].append(line)
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    with running_gateway(kafka.bootstrap, topics, tmp_path) as gateway, gateway.client() as client:
        gateway.await_ready()
        for stage, lines in by_stage.items():
            for start in range(0, len(lines), 1000):
                body = gzip.compress(b"[" + b",".join(lines[start : start + 1000]) + b"]")
                reply = client.post(f"/v1/{stage}/events", content=body, headers=headers)
                assert reply.status_code == 202, reply.text

    for stage, lines in by_stage.items():
        found = records(kafka.bootstrap, [topics.catalogue.stage_topics[stage]])
        assert sorted(message.value() or b"" for message in found.values()) == sorted(lines)
    assert sum(map(len, by_stage.values())) == 9_704
