"""`bems receipt` over a real store, with a broker that is away: what the store knows is told all the same."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bems_streams.adapters.stores import default_store_url, open_store
from bems_streams.cli.main import main
from bems_streams.ports import Handled, StoreBatch
from tests.contract.rows import dead_letter, event, retry
from tests.unit.receipt_kit import TOPIC, text

RESOLVED, UNKNOWN, AWAY = 0, 1, 2


def bems(state_dir: Path, *arguments: str) -> Result:
    """`bems receipt` in cell-7."""
    where = ["--state-dir", str(state_dir), "--bootstrap", "127.0.0.1:1", "--cell", "cell-7"]
    return CliRunner().invoke(main, ["receipt", *arguments, *where])


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """A store with a record of every kind."""
    with closing(open_store(default_store_url(tmp_path))) as store:
        store.write(
            StoreBatch(
                events=[event("e-1", 0), event("e-1", 1)],
                dead_letters=[dead_letter(2), dead_letter(0, "tracker", code="unfoldable", reason="[red]full\x1b[2J")],
                retrying=[retry(3, attempts=2)],
                handled=[Handled("sink", TOPIC, 0, 0, 4)],
            )
        )
    return tmp_path


def test_each_receipt_has_a_panel_with_all_that_is_known(cell: Path) -> None:
    """State, meaning, names, times, and what to type next."""
    result = bems(cell, *(text(offset) for offset in range(4)))

    assert result.exit_code == RESOLVED, result.output
    stored, duplicate, dead, waiting = (part.split("╯")[0] for part in result.output.split("╭")[1:])
    for panel, shown in (
        (stored, ["cell-7/invoices.ingestion/0/0", "stored   stored 20 ms after", "2023-11-14T22:13:20.020Z", "INV-1"]),
        (stored, ["tracker", "dead-lettered since 2023-11-14T22:13:20.030Z: unfoldable", "bems dlq show"]),
        (duplicate, ["duplicate   event e-1", "duplicate of   cell-7/invoices.ingestion/0/0", "it counts once"]),
        (dead, ["dead-lettered   the sink gave it up", "invalid_event", "stage: required", "bems dlq show"]),
        (
            waiting,
            ["retrying   the sink could not", "attempt 2 failed, next at 2023-11-14T22:13:30.000Z", "store_refused"],
        ),
    ):
        for part in shown:
            assert part in panel


def test_text_from_outside_obeys_no_markup_and_sends_no_control_characters(cell: Path) -> None:
    """An upstream system must not be able to paint on an operator's terminal."""
    output = bems(cell, text(0)).output

    assert "[red]full\N{REPLACEMENT CHARACTER}[2J" in output
    assert "\x1b" not in output


def test_as_json_it_is_one_object_a_line_as_http_answers(cell: Path) -> None:
    """For scripts that check what they were promised."""
    result = bems(cell, "--json", text(1), text(2))

    assert result.exit_code == RESOLVED
    duplicate, dead = map(json.loads, result.output.splitlines())
    assert (duplicate["state"], duplicate["duplicate_of"]["receipt"]) == ("duplicate", text(0))
    assert (dead["state"], dead["agents"][0]["code"]) == ("dead_lettered", "invalid_event")


@pytest.mark.parametrize(
    ("receipt", "code", "state", "said"),
    [
        ("cell-7", UNKNOWN, "no_receipt", "cell/topic/partition/offset"),
        (text(0, cell="eu-2"), UNKNOWN, "other_cell", "eu-2"),
        (text(0, topic="orders"), UNKNOWN, "unknown", "orders"),
    ],
)
def test_one_that_does_not_resolve_is_told_beside_those_that_do(
    cell: Path, receipt: str, code: int, state: str, said: str
) -> None:
    """The exit code is that of the worst."""
    result = bems(cell, "--json", text(0), receipt)

    assert result.exit_code == code
    first, second = map(json.loads, result.output.splitlines())
    assert (first["state"], second["state"], second["receipt"]) == ("stored", state, receipt)
    assert said in second["detail"]
    assert said in bems(cell, receipt).output.replace("\n", "")


def test_a_broker_that_is_away_leaves_open_only_what_the_store_does_not_know(cell: Path) -> None:
    """Exit code 2, and what to check."""
    result = bems(cell, text(0), text(9))

    assert result.exit_code == AWAY
    assert "not known now" in result.output
    assert "--bootstrap" in result.output
    assert "stored 20 ms after" in result.output


def test_a_store_that_cannot_be_read_is_said(cell: Path) -> None:
    """Its URL, its file: with the way to name another."""
    (cell / "store.sqlite3").write_bytes(b"no database at all" * 100)

    assert bems(cell, text(0)).exit_code == AWAY
    assert bems(cell, text(0), "--store", "oracle:x").exit_code == AWAY
    assert "a store URL begins with" in bems(cell, text(0), "--store", "oracle:x").output


def test_without_a_receipt_it_says_how_it_is_called(cell: Path) -> None:
    """Nothing to look up is a mistake."""
    assert "RECEIPT…" in bems(cell).output
    assert bems(cell).exit_code == AWAY
