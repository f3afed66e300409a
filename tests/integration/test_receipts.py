"""Every receipt of a real cell resolves: before there is a store, after it, after retention, without the broker."""

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bems_streams.cli.main import main
from bems_streams.local.ports import free_ports
from tests.integration.conftest import StartCell
from tests.integration.gateway_process import event
from tests.support import RunningCell, eventually

CELL: Final = "local-1"
STAGES: Final = ("ingestion", "reconciliation", "authorization", "posting")
GOOD, AGAIN, AHEAD = 40, 12, 3
POISON: Final = {b"{not json": "not_json", b'{"event_id": "x"}': "invalid_event", b"[1]": "invalid_event"}


@dataclass
class Given:
    """Receipts that were given, by what must become of them."""

    stored: list[str] = field(default_factory=list)
    duplicates: dict[str, str] = field(default_factory=dict)  # to the receipt that counts
    retrying: list[str] = field(default_factory=list)
    dead: dict[str, str] = field(default_factory=dict)  # to the code

    def all(self) -> list[str]:
        """Every one of them."""
        return [*self.stored, *self.duplicates, *self.retrying, *self.dead]


def post(client: httpx.Client, stage: str, events: list[dict[str, Any]]) -> list[str]:
    """Their receipts."""
    reply = client.post(f"/v1/{stage}/events", json=events)
    assert reply.status_code == 202, reply.text
    return [item["receipt"] for item in reply.json()["items"]]


def poison(running: RunningCell) -> dict[str, str]:
    """Written straight to a topic, as an upstream system may; the broker's word is the receipt."""
    given: dict[str, str] = {}
    producer = Producer({"bootstrap.servers": running.bootstrap})

    def delivered(error: Any, message: Any) -> None:
        assert error is None
        place = f"{CELL}/{message.topic()}/{message.partition()}/{message.offset()}"
        given[place] = POISON[message.value()]

    for value in POISON:
        producer.produce("invoices.posting", key="INV-1", value=value, on_delivery=delivered)
    assert producer.flush(30) == 0
    return given


def feed(running: RunningCell, client: httpx.Client) -> Given:
    """Good events, some of them twice, some ahead of time, and poison."""
    given = Given(dead=poison(running))
    ahead = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    for stage in STAGES:
        first = post(client, stage, [event(number, stage, event_id=f"{stage}-{number}") for number in range(GOOD)])
        again = post(client, stage, [event(number, stage, event_id=f"{stage}-{number}") for number in range(AGAIN)])
        given.stored += first
        given.duplicates |= dict(zip(again, first, strict=False))
        given.retrying += post(
            client, stage, [event(number, stage, event_id=f"a-{number}", occurred_at=ahead) for number in range(AHEAD)]
        )
    return given


def look_up(client: httpx.Client, receipts: Iterable[str]) -> dict[str, Any]:
    """What the gateway says of each."""
    found = {}
    for receipt in receipts:
        reply = client.get(f"/v1/receipts/{receipt}")
        assert reply.status_code == 200, (receipt, reply.text)
        found[receipt] = reply.json()
    return found


def states(found: Mapping[str, Any]) -> dict[str, str]:
    """State by receipt."""
    return {receipt: answer["state"] for receipt, answer in found.items()}


def start_sink(running: RunningCell) -> None:
    """A sink that was down until now."""
    (port,) = free_ports(1)
    spec = running.cell.spec("gateway")
    command = [*running.cell.options.program, "worker", "sink", "--instance", "sink-0", "--session-seconds", "6"]
    running.cell.processes.start(replace(spec, name="sink", command=[*command, "--health-port", str(port)]))


def bems_receipt(running: RunningCell, *receipts: str) -> list[Any]:
    """`bems receipt --json`; one answer each."""
    where = ["--bootstrap", running.bootstrap, "--store", running.cell.options.store]
    result = CliRunner().invoke(main, ["receipt", "--json", *receipts, *where])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def what_it_says_to_type(running: RunningCell, answer: Any) -> Any:
    """What the command prints that the answer names, for the dead letter with its bytes."""
    _, *arguments = shlex.split(answer["agents"][0]["show"])
    where = ["--bootstrap", running.bootstrap, "--store", running.cell.options.store]
    result = CliRunner().invoke(main, [*arguments, "--json", *where])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def forget(running: RunningCell) -> None:
    """What retention does in thirty days: every record of the stage topics is gone."""
    admin = AdminClient({"bootstrap.servers": running.bootstrap})
    everything = [
        TopicPartition(topic, number, -1)
        for topic in running.catalogue.stage_topics.values()
        for number in range(running.catalogue.partitions)
    ]
    for deleted in admin.delete_records(everything).values():
        deleted.result(30)


@pytest.fixture
def running(running_cell: StartCell) -> RunningCell:
    """A gateway that takes events; nobody stores anything yet."""
    running = running_cell("gateway")
    eventually(running.cell.addresses.not_ready, lambda reasons: not reasons)
    return running


def test_every_receipt_of_a_mixed_feed_resolves(running: RunningCell) -> None:
    """Over HTTP and on the command line, whatever became of the event and whatever is away by now."""
    url = running.cell.addresses.gateway
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        given = feed(running, client)

        # when nothing is handled, and there is no store
        sample = [*given.stored[::20], *[*given.duplicates][::20], *given.retrying[::5], *given.dead]
        assert set(states(look_up(client, sample)).values()) == {"accepted"}
        assert all(answer["accepted_at"] for answer in bems_receipt(running, *sample[:3]))

        # when the sink has caught up
        start_sink(running)
        eventually(
            running.reader.counts,
            lambda counts: (
                counts.stored + counts.duplicates + counts.retrying + counts.dead_lettered == len(given.all())
            ),
        )
        found = look_up(client, given.all())
        assert states(found) == {
            **dict.fromkeys(given.stored, "stored"),
            **dict.fromkeys(given.duplicates, "duplicate"),
            **dict.fromkeys(given.retrying, "retrying"),
            **dict.fromkeys(given.dead, "dead_lettered"),
        }
        assert {again: found[again]["duplicate_of"]["receipt"] for again in given.duplicates} == given.duplicates
        assert {letter: found[letter]["agents"][0]["code"] for letter in given.dead} == given.dead
        assert {found[waiting]["agents"][0]["code"] for waiting in given.retrying} == {"future_dated"}
        assert all(found[waiting]["agents"][0]["next_try_at"] for waiting in given.retrying)

        # however it is asked
        settled = [*given.stored, *given.duplicates, *given.dead]
        assert bems_receipt(running, *settled) == [found[receipt] for receipt in settled]
        for letter, code in given.dead.items():
            assert what_it_says_to_type(running, found[letter])["code"] == code
        encoded = client.get(f"/v1/receipts/{quote(given.stored[0], safe='')}")
        assert encoded.json() == found[given.stored[0]]

        # when retention has taken every record, and when the broker is gone
        never = f"{CELL}/invoices.posting/0/999999"
        assert client.get(f"/v1/receipts/{never}").json()["type"] == "/docs#unknown-receipt"
        forget(running)
        assert states(look_up(client, settled)) == states({receipt: found[receipt] for receipt in settled})
        running.cell.lose_broker(1)
        assert look_up(client, settled[::10]) == {receipt: found[receipt] for receipt in settled[::10]}
        away = client.get(f"/v1/receipts/{never}")
        assert (away.status_code, away.json()["type"], away.headers["retry-after"]) == (503, "/docs#unresolved", "2")
