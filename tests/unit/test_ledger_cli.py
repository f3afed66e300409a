"""What `bems ledger` prints and writes, and how it says that it cannot."""

import json
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bems_streams.adapters.stores import default_store_url, open_store
from bems_streams.cli.ledger_json import reconciliation_json
from bems_streams.cli.ledger_screen import print_account, print_totals, print_verdict
from bems_streams.cli.main import main
from bems_streams.flows.ledger.findings import MAX_NAMED, Grouping, Kind
from bems_streams.flows.reconcile import Look
from bems_streams.ports import Coordinates
from tests.unit.ledger_kit import POISON, TOPIC, World

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def world() -> World:
    """Three accepted and handled: one event, the same again, poison."""
    world = World()
    world.accept("E-1", "12.50")
    world.accept("E-1", "12.50")
    world.accept_bytes(POISON)
    world.handle()
    return world


def printed(world: World, look: Look = Look.SUSPICIOUS) -> str:
    out = StringIO()
    console = Console(file=out, width=300)
    result = world.reconciler.verify(by=Grouping.MINUTE, look=look)
    print_account(console, result)
    print_totals(console, result)
    print_verdict(console, result, "c1")
    return out.getvalue()


def test_an_account_has_lines_a_total_and_a_verdict(world: World) -> None:
    """Accepted, stored, duplicate, dead-lettered, retrying, missing; by agent, topic, partition and minute."""
    text = printed(world)

    words = [line.split() for line in text.splitlines()]
    minute = ["2025-10-09", "08:54:00Z"]
    assert ["sink", TOPIC, "0", *minute, "3", "1", "1", "1", "0", "0"] in words
    assert ["sink", "all", "3", "1", "1", "1", "0", "0"] in words
    assert "EUR  accepted 25.00  accounted for 25.00  equal" in text
    assert text.splitlines()[-1] == "closed: every accepted event is accounted for"


def test_what_is_missing_is_named_with_what_to_do(world: World) -> None:
    """Receipt, event, invoice, age, reason; then advice; then one line that says it all."""
    world.delete_row(Coordinates(TOPIC, 0, 0))
    world.pass_seconds(60)

    text = printed(world, Look.DEEP)

    assert (
        f"missing sink c1/{TOPIC}/0/0 event E-1 of invoice INV-1, accepted 1 minute ago: "
        "the ledger counts it, but there is no row of it"
    ) in text
    assert "docs/runbooks/ledger-gap.md" in text
    assert "EUR  accepted 25.00  accounted for 12.50  in the log 25.00  differs by 12.50" in text
    assert text.splitlines()[-1] == "NOT CLOSED: 1 missing"


def test_ids_from_outside_cannot_play_with_the_terminal(world: World) -> None:
    """No markup, no escape sequence."""
    at = world.accept("[bold]E\x1b[2J")
    world.handle()
    world.delete_row(at)

    text = printed(world)

    assert "event [bold]E\N{REPLACEMENT CHARACTER}[2J of invoice" in text


def test_as_json_it_has_everything(world: World) -> None:
    """For machines: times in RFC 3339, amounts as text, what is unknown left out."""
    world.delete_row(Coordinates(TOPIC, 0, 0))
    document = json.loads(reconciliation_json(world.reconciler.verify(by=Grouping.PARTITION), "c1"))

    assert (document["cell"], document["closed"], document["missing"]) == ("c1", False, 1)
    assert document["counts"] == {kind.value: int(kind is Kind.MISSING) for kind in Kind}
    assert document["totals"] == [{"currency": "EUR", "accepted": "25.00", "stored": "12.50"}]
    assert document["lines"][0] == {
        "agent": "sink",
        "topic": TOPIC,
        "partition": 0,
        "accepted": 3,
        "stored": 0,
        "duplicates": 1,
        "dead_lettered": 1,
        "retrying": 0,
        "missing": 1,
    }
    [found] = document["findings"]
    assert found == {
        "receipt": f"c1/{TOPIC}/0/0",
        "kind": "missing",
        "agent": "sink",
        "topic": TOPIC,
        "partition": 0,
        "first_offset": 0,
        "next_offset": 1,
        "records": 1,
        "detail": "the ledger counts it, but there is no row of it",
        "invoice_id": "INV-1",
        "event_id": "E-1",
        "accepted_at": "2025-10-09T08:54:20Z",
    }


def test_a_list_that_is_too_long_says_how_much_it_leaves_out(world: World) -> None:
    """Everything is counted."""
    for number in range(MAX_NAMED + 5):
        world.accept(f"N-{number}")
    world.pass_seconds(60)
    world.accept("E-last")
    world.handle()
    world.delete_entry("tracker", Coordinates(TOPIC, 0, 3))

    text = printed(world)

    missing = MAX_NAMED + 5 + 3
    assert f"NOT CLOSED: {missing:,} missing, 1 unrecorded" in text
    assert "… and 8 more: look at less at a time with --since and --topic" in text


@pytest.mark.parametrize("command", [["ledger"], ["ledger", "verify"]])
def test_without_a_store_nothing_is_known(tmp_path: Path, command: list[str]) -> None:
    """Exit code 2, neither closed nor open: it would look like one that lost everything."""
    result = CliRunner().invoke(main, [*command, "--state-dir", str(tmp_path), "--bootstrap", NOWHERE])

    assert result.exit_code == 2
    assert "there is no store at" in result.output


def test_without_a_broker_nothing_is_known(tmp_path: Path) -> None:
    """Exit code 2 as well, within seconds."""
    open_store(default_store_url(tmp_path)).close()

    result = CliRunner().invoke(main, ["ledger", "verify", "--state-dir", str(tmp_path), "--bootstrap", NOWHERE])

    assert result.exit_code == 2
    assert "check that the brokers run" in result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stage", "limbo"], "no stage limbo: there are ingestion, reconciliation, authorization, posting"),
        (["--topic", "invoices.limbo"], "accounted for are invoices.ingestion"),
        (["--agent", "limbo"], "accounts are kept by sink, tracker"),
        (["--since", "yesterday"], "write it like 2026-03-02T09:00:00Z"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(tmp_path: Path, options: list[str], said: str) -> None:
    """Before anything is asked."""
    result = CliRunner().invoke(main, ["ledger", *options, "--state-dir", str(tmp_path), "--bootstrap", NOWHERE])

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
