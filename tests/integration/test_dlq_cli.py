"""`bems dlq list`, `show` and `export` over a real broker: what an operator sees of dead letters, every byte of it."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.adapters.stores import default_store_url, open_store
from bems_streams.cli.main import main
from bems_streams.domain.failures import NotJson, Problem, StoreRefused
from bems_streams.flows.lanes import Arrival, Lanes
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.local.ports import free_ports
from bems_streams.ports import Appended, Coordinates, OutRecord, RawRecord, StoreBatch
from tests.contract.rows import event
from tests.integration.gateway_process import OwnTopics, own_topics

NOW_US = 1_760_000_000_000_000
DAY_US = 86_400_000_000
JSON_VALUE = b'{"event_id":"e-1","invoice_amount":10.50}'
BINARY = bytes(range(256)) * 3
LONG = b'{"text":"' + b"x" * 300_000 + b'"}'


class Shop(NamedTuple):
    """A broker with dead letters, and a store that knows one of them as stored since."""

    bootstrap: str
    topics: OwnTopics
    folder: Path
    proofs: list[Appended]

    def bems(self, *arguments: str) -> Result:
        """The command."""
        where = ("--bootstrap", self.bootstrap, "--catalogue", str(self.topics.path), "--state-dir", str(self.folder))
        return CliRunner().invoke(main, ["dlq", *arguments, *where])

    def place(self, number: int) -> str:
        """Of one dead letter."""
        at = self.proofs[number].at
        return f"{at.topic}/{at.partition}/{at.offset}"


@pytest.fixture(scope="module")
def shop(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Four dead letters of the sink (one handled since), one of the tracker, one that no agent wrote."""
    folder = tmp_path_factory.mktemp("dlq")
    topics = own_topics(folder)
    topics.create(kafka.bootstrap)
    catalogue = topics.catalogue
    posting, ingestion = catalogue.stage_topics["posting"], catalogue.stage_topics["ingestion"]
    given = [
        ("sink", posting, b"INV-1", JSON_VALUE, StoreRefused((Problem("", "no room"), Problem("currency", "odd"))), 0),
        ("sink", posting, b"INV-2", BINARY, NotJson((Problem("", "not UTF-8"),)), 1),
        ("sink", ingestion, b"INV-3", LONG, NotJson((Problem("", "odd"),)), 2),
        ("sink", ingestion, None, None, NotJson((Problem("", "the record has no value"),)), 3),
        ("tracker", posting, b"INV-1", JSON_VALUE, NotJson((Problem("", "odd"),)), 4),
    ]
    out = []
    for agent, topic, key, value, failure, day in given:
        headers = [("correlation-id", b"trace-1"), ("raw", b"\xff\x00"), ("void", None)]
        record = RawRecord(Coordinates(topic, 4, 100 + day), key, value, headers, NOW_US)
        lanes = Lanes.of(catalogue, agent, "local-1", "eu")
        aside = lanes.set_aside(Arrival(record, None), failure, NOW_US + day * DAY_US)
        out.append(aside.out._replace(topic=lanes.dead_letter_of[topic]))
    out.append(OutRecord(catalogue.dead_letter_topic(posting, "sink"), b"k", b"\x00garbage", [("a", b"b")], 4))
    proofs = asyncio.run(_published(kafka.bootstrap, out))
    store = open_store(default_store_url(folder))
    store.write(StoreBatch(events=[event("e-3", invoice_id="INV-3", at=Coordinates(ingestion, 4, 102))]))
    store.close()
    yield Shop(kafka.bootstrap, topics, folder, proofs)


async def _published(bootstrap: str, out: list[OutRecord]) -> list[Appended]:
    producer = KafkaProducer(ProducerConfig(bootstrap, "test-dlq"))
    try:
        return [*await producer.publish(out)]
    finally:
        await producer.close(5)


def counts(result: Result) -> dict[tuple[str, str | None, str], int]:
    """What `list --json` counted."""
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    return {(row["agent"], row["stage"], row["code"]): row["dead_letters"] for row in found["counts"]}


def test_list_counts_and_shows_the_newest(shop: Shop) -> None:
    """By agent, stage and code; the newest first, each with the place that `show` takes."""
    result = shop.bems("list", "--limit", "2")
    found = counts(shop.bems("list", "--json"))

    assert result.exit_code == 0
    assert "6 in all" in result.stdout
    assert "shown are the newest 2; --limit 6 shows all" in result.stdout
    assert result.stdout.index(shop.place(5)) < result.stdout.index(shop.place(4))
    assert found == {
        ("sink", "posting", "store_refused"): 1, ("sink", "posting", "not_json"): 1,
        ("sink", "ingestion", "not_json"): 2, ("tracker", "posting", "not_json"): 1, ("sink", None, "bad_envelope"): 1,
    }  # fmt: skip


def test_filters_narrow_the_list(shop: Shop) -> None:
    """Each of them, also with times."""
    assert counts(shop.bems("list", "--json", "--agent", "tracker")) == {("tracker", "posting", "not_json"): 1}
    assert counts(shop.bems("list", "--json", "--code", "store_refused")) == {("sink", "posting", "store_refused"): 1}
    assert sum(counts(shop.bems("list", "--json", "--stage", "ingestion")).values()) == 2
    assert sum(counts(shop.bems("list", "--json", "--invoice", "INV-1")).values()) == 2
    until = ("--since", "2025-10-09T08:53:20Z", "--until", "2025-10-11")
    assert sum(counts(shop.bems("list", "--json", *until)).values()) == 2
    assert sum(counts(shop.bems("list", "--json", "--since", "1h")).values()) == 1


def test_open_leaves_out_what_was_handled_since(shop: Shop) -> None:
    """The store has the event at these coordinates: its dead letter is history."""
    still = json.loads(shop.bems("list", "--json", "--open", "--agent", "sink").stdout)

    assert still["dead_letters"] == 4
    assert "INV-3" not in {letter.get("invoice_id") for letter in still["newest"]}


def test_show_has_every_problem_and_every_byte(shop: Shop) -> None:
    """JSON with indents, other bytes in hexadecimal, headers, the receipt, and what a redrive would do."""
    structured, binary, long = (shop.bems("show", shop.place(number)) for number in (0, 1, 2))

    assert structured.exit_code == binary.exit_code == long.exit_code == 0
    for text in (
        "no room",
        "currency: odd",
        '"invoice_amount": 10.50',
        "correlation-id: trace-1",
        "raw: ff 00",
        "INV-1",
    ):
        assert text in structured.stdout
    assert "it would fail again" in structured.stdout
    assert "000002e0" in binary.stdout and "original bytes: 768" in binary.stdout
    assert "x" * 300_000 in long.stdout
    assert "it would not be sent: it has been handled since" in long.stdout


def test_show_finds_a_dead_letter_by_the_receipt_of_its_event(shop: Shop) -> None:
    """Of every agent that gave the event up, or of the one asked for."""
    posting = shop.topics.catalogue.stage_topics["posting"]

    by_receipt = shop.bems("show", f"local-1/{posting}/4/100")
    by_origin = shop.bems("show", f"{posting}/4/104", "--agent", "tracker")
    nothing = shop.bems("show", f"local-1/{posting}/4/999")

    assert shop.place(0) in by_receipt.stdout
    assert shop.place(4) in by_origin.stdout
    assert nothing.exit_code == 1
    assert "bems dlq list" in nothing.output


def test_show_does_not_stumble_over_what_no_agent_wrote(shop: Shop) -> None:
    """Its bytes are shown all the same."""
    result = shop.bems("show", shop.place(5))

    assert result.exit_code == 0
    assert "it cannot be sent" in result.stdout
    assert "00 67 61 72" in result.stdout


def test_an_export_is_lossless(shop: Shop, tmp_path: Path) -> None:
    """Key, value and headers of every record come back byte by byte; nothing is cut."""
    out = tmp_path / "dead.jsonl"

    result = shop.bems("export", "--out", str(out), "--agent", "sink")

    assert result.exit_code == 0, result.output
    assert "5 dead letters written" in result.stderr
    rows = [json.loads(line) for line in out.read_bytes().splitlines()]
    values = {row["at"]: decoded(row["record"]["value"]) for row in rows}
    assert [values[shop.place(number)] for number in (0, 1, 2, 3, 5)] == [
        JSON_VALUE,
        BINARY,
        LONG,
        None,
        b"\x00garbage",
    ]
    (first,) = [row for row in rows if row["at"] == shop.place(0)]
    headers = [(name, decoded(value)) for name, value in first["record"]["headers"]]
    assert headers[:3] == [("correlation-id", b"trace-1"), ("raw", b"\xff\x00"), ("void", None)]
    assert ("bems-code", b"store_refused") in headers
    assert (first["value_text"], first["redrives"], first["code"]) == (JSON_VALUE.decode(), 0, "store_refused")


def decoded(value: Any) -> bytes | None:
    """From base64."""
    return None if value is None else b64decode(value)


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        (("list", "--agent", "nobody"), 2, "there are tracker, sink"),
        (("list", "--stage", "nowhere"), 2, "there are ingestion, reconciliation"),
        (("list", "--since", "soon"), 2, "write it like 2026-03-02T09:00:00Z"),
        (("redrive", "--yes"), 2, "say whose dead letters with --agent: tracker, sink"),
        (("redrive", "--agent", "sink"), 2, "add --yes to send, or --dry-run"),
        (("redrive", "--agent", "sink", "--rate", "fast"), 2, "such as 50/s"),
        (("redrive", "--resume", "none"), 1, "`bems dlq runs` lists them"),
        (("redrive", "--resume", "none", "--code", "not_json"), 2, "keeps the filter and the limit it began with"),
        (("show", "somewhere"), 2, "copy it from `bems dlq list`"),
    ],
)
def test_every_refusal_says_what_to_do(shop: Shop, arguments: tuple[str, ...], code: int, advice: str) -> None:
    """Whatever was wrong with the question."""
    result = shop.bems(*arguments)

    assert result.exit_code == code, result.output
    assert advice in " ".join(result.output.split())


def test_a_dry_run_without_an_agent_tells_of_all_and_leaves_no_trace(shop: Shop) -> None:
    """One table per agent; no audit entry."""
    result = shop.bems("redrive", "--dry-run")
    runs = shop.bems("runs")

    assert result.exit_code == 0, result.output
    assert "to send to the tracker" in result.stdout
    assert "3 to send to the sink" in result.stdout
    assert "already_handled" in result.stdout
    assert runs.stdout.strip() == "no redrive was ever run here"


def test_without_a_broker_or_a_store_nothing_is_claimed(shop: Shop, tmp_path: Path) -> None:
    """Exit code 2, and what to do about it."""
    (port,) = free_ports(1)
    empty = ("--catalogue", str(shop.topics.path), "--state-dir", str(tmp_path))

    no_broker = CliRunner().invoke(main, ["dlq", "list", "--bootstrap", f"127.0.0.1:{port}", *empty])
    no_store = CliRunner().invoke(main, ["dlq", "list", "--open", "--bootstrap", shop.bootstrap, *empty])

    assert (no_broker.exit_code, no_store.exit_code) == (2, 2)
    assert "--bootstrap" in no_broker.output
    assert "--state-dir or --store" in no_store.output
