"""`bems invoice`, `bems stuck` and `bems export` over a real store."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bems_streams.adapters.stores import default_store_url, open_store
from bems_streams.cli.main import main
from bems_streams.ports import StoreBatch
from tests.contract.rows import NOW_US, SECOND_US, alert, at, dead_letter, event, invoice

NOTHING_THERE, UNREADABLE = 1, 2


def fill(state_dir: Path, **rows: object) -> None:
    with closing(open_store(default_store_url(state_dir))) as store:
        store.write(StoreBatch(**rows))  # type: ignore[arg-type]


def bems(state_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--state-dir", str(state_dir)])


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    """A state folder with three invoices, two of them stuck, and everything that can happen to one."""
    fill(
        tmp_path,
        events=[
            event("ev-1", 0, activity="Record receipt", correlation_id="c-1"),
            event("ev-2", 7, stage="reconciliation", at=at(7, 3, "invoices.reconciliation"), payee_code=None),
            event("ev-1", 9),
            event("ev-1", 10, invoice_id="INV-2"),
        ],
        invoices=[
            invoice("INV-1", stage="reconciliation", stuck_since_us=NOW_US, invoice_amount="0.1"),
            invoice("INV-2", stuck_since_us=NOW_US - SECOND_US, invoice_amount="999999999999999.000001"),
            invoice("INV-3", stuck_since_us=NOW_US + 1, invoice_amount="0.2"),
            invoice("INV-4"),
        ],
        alerts=[alert(document='{"reason":"9 days in ingestion, limit 1 day"}')],
        dead_letters=[dead_letter(12, invoice_id="INV-1")],
    )
    return tmp_path


def test_invoice_shows_state_way_events_alerts_duplicates_and_dead_letters(cell: Path) -> None:
    """One look says where it is and what happened."""
    result = bems(cell, "invoice", "INV-1")

    assert result.exit_code == 0
    for part in (
        "open in reconciliation for ",
        "stuck since 2023-11-14 22:13:20Z",
        "amount 0.1 EUR",
        "● ingestion 1 ── ◉ reconciliation 1 ── ○ authorization ── ○ posting",
        "Record receipt",
        "invoices.reconciliation/3/7",
        "9 days in ingestion, limit 1 day",
        "invoices.ingestion/0/9",
        "stage: required",
    ):
        assert part in result.output


def test_invoice_as_json_holds_all_of_it(cell: Path) -> None:
    """Times in RFC 3339, amounts as text, missing fields left out, documents as published."""
    result = json.loads(bems(cell, "invoice", "INV-1", "--json").output)

    assert result["invoice"] == {"invoice_id": "INV-1", "revision": 1}
    assert [row["event_id"] for row in result["events"]] == ["ev-1", "ev-2"]
    assert [row["offset"] for row in result["duplicates"]] == [9]
    assert result["alerts"] == [{"reason": "9 days in ingestion, limit 1 day"}]
    assert [row["code"] for row in result["dead_letters"]] == ["invalid_event"]


def test_an_invoice_without_published_state_shows_its_events(tmp_path: Path) -> None:
    """The sink may be ahead of the tracker."""
    fill(tmp_path, events=[event()])

    result = bems(tmp_path, "invoice", "INV-1")

    assert result.exit_code == 0
    assert "no state yet: the tracker has not published it" in result.output
    assert "● ingestion 1" in result.output
    assert json.loads(bems(tmp_path, "invoice", "INV-1", "--json").output)["invoice"] is None


def test_an_unknown_invoice_is_an_error_that_says_what_to_check(cell: Path) -> None:
    """Ids differ in case."""
    result = bems(cell, "invoice", "inv-1")

    assert result.exit_code == NOTHING_THERE
    assert "no invoice 'inv-1' in sqlite://" in result.output
    assert "case matters" in result.output


def test_text_from_outside_obeys_no_markup_and_sends_no_control_characters(tmp_path: Path) -> None:
    """An upstream system must not be able to paint on an operator's terminal."""
    fill(tmp_path, events=[event(activity="[red]paid[/red]\x1b[2J\r")], invoices=[invoice()])

    output = bems(tmp_path, "invoice", "INV-1").output

    assert "[red]paid[/red]\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}" in output
    assert "\x1b" not in output
    assert "\r" not in output


def test_stuck_lists_the_longest_first_with_exact_totals(cell: Path) -> None:
    """Sums that floats would round."""
    result = bems(cell, "stuck")

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["INV-2", "INV-1", "INV-3"]
    assert "LE-1 / P-1" in lines[1]
    assert "3 stuck: 2 in ingestion, 1 in reconciliation" in result.output
    assert "999,999,999,999,999.300001 EUR" in result.output


def test_stuck_with_a_limit_still_sums_all(cell: Path) -> None:
    """The totals are not those of the lines shown, and say how to see the rest."""
    result = bems(cell, "stuck", "--limit", "1")

    assert "INV-1" not in result.output
    assert "999,999,999,999,999.300001 EUR" in result.output
    assert "shown are the longest 1; --limit 3 shows all" in result.output


def test_stuck_as_json_is_one_document_per_line(cell: Path) -> None:
    """For jq and scripts."""
    lines = bems(cell, "stuck", "--json", "--limit", "2").output.splitlines()

    assert [json.loads(line)["invoice_id"] for line in lines] == ["INV-2", "INV-1"]


def test_nothing_stuck_is_said_not_shown_as_an_empty_table(tmp_path: Path) -> None:
    """Silence could mean that the command failed."""
    fill(tmp_path, invoices=[invoice("INV-1"), invoice("INV-2")])

    result = bems(tmp_path, "stuck")

    assert result.output == "no invoice is stuck, of 2\n"
    assert bems(tmp_path, "stuck", "--json").output == ""


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_that_shows_nothing_is_refused(cell: Path, limit: str) -> None:
    """Zero lines would read like nothing stuck."""
    assert bems(cell, "stuck", f"--limit={limit}").exit_code == UNREADABLE


COMMANDS = [["invoice", "INV-1"], ["stuck"], ["export", "events"], ["export", "invoices", "--out", "x.jsonl"]]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_missing_store_is_an_error_and_is_not_created(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped folder must not look like an empty cell."""
    monkeypatch.chdir(tmp_path)

    result = bems(tmp_path / "typo", *arguments)

    assert result.exit_code == UNREADABLE
    assert f"there is no store at sqlite:///{tmp_path}/typo/store.sqlite3: name the right one" in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_store_may_be_named_by_url(cell: Path) -> None:
    """--store takes what BEMS_STORE takes; a bad one is explained."""
    url = default_store_url(cell)

    found = CliRunner().invoke(main, ["stuck", "--store", url])
    named = CliRunner().invoke(main, ["stuck"], env={"BEMS_STORE": url})
    bad = CliRunner().invoke(main, ["stuck", "--store", "oracle:x"])

    assert "3 stuck" in found.output
    assert "3 stuck" in named.output
    assert (bad.exit_code, "a store URL begins with sqlite: or memory:" in bad.output) == (UNREADABLE, True)


def test_exported_events_carry_the_event_and_its_record(cell: Path) -> None:
    """One object per line; what the event lacks is left out."""
    lines = bems(cell, "export", "events").output.splitlines()

    first, second, third = map(json.loads, lines)
    assert first == {
        "event_id": "ev-1",
        "source": "erp",
        "occurred_at": "2023-11-14T22:13:15Z",
        "invoice_id": "INV-1",
        "stage": "ingestion",
        "payee_code": "P-1",
        "legal_entity_id": "LE-1",
        "invoice_date": "2026-01-01",
        "invoice_due_date": "2026-02-01",
        "invoice_amount": "10.50",
        "currency": "EUR",
        "activity": "Record receipt",
        "attributes": {"plant": "DE01"},
        "correlation_id": "c-1",
        "accepted_at": "2023-11-14T22:13:20Z",
        "stored_at": "2023-11-14T22:13:20.020000Z",
        "topic": "invoices.ingestion",
        "partition": 0,
        "offset": 0,
    }
    assert second["topic"] == "invoices.reconciliation"
    assert "payee_code" not in second
    assert (third["invoice_id"], third["event_id"]) == ("INV-2", "ev-1")


def test_exported_invoices_are_their_documents(tmp_path: Path) -> None:
    """As published, on one line each even if they were not."""
    fill(
        tmp_path, invoices=[invoice("INV-2", document='{"b": 1.10}'), invoice("INV-1", document='{\n "a": "x\\ny"\n}')]
    )

    assert bems(tmp_path, "export", "invoices").output == '{"a":"x\\ny"}\n{"b": 1.10}\n'


def test_an_export_to_a_file_says_how_much_and_leaves_nothing_else(cell: Path, tmp_path: Path) -> None:
    """The file holds what the terminal would show; what was there before is replaced."""
    out = tmp_path / "out" / "events.jsonl"
    out.parent.mkdir()
    out.write_text("old")

    result = bems(cell, "export", "events", "--out", str(out))

    assert result.exit_code == 0
    assert result.output == f"3 events written to {out}\n"
    assert out.read_text() == bems(cell, "export", "events").output
    assert list(out.parent.iterdir()) == [out]


def test_an_export_that_fails_leaves_the_file_as_it_was(cell: Path, tmp_path: Path) -> None:
    """Half a file must never stand under the name of a whole one."""
    out = tmp_path / "out" / "invoices.jsonl"
    out.parent.mkdir()
    out.write_text("old")
    fill(cell, invoices=[invoice("INV-9", document="{\n not json")])

    result = bems(cell, "export", "invoices", "--out", str(out))

    assert result.exit_code != 0
    assert out.read_text() == "old"
    assert list(out.parent.iterdir()) == [out]


def test_an_export_into_a_folder_that_is_not_there_is_explained(cell: Path, tmp_path: Path) -> None:
    """No traceback."""
    result = bems(cell, "export", "events", "--out", str(tmp_path / "none" / "x.jsonl"))

    assert result.exit_code == NOTHING_THERE
    assert "No such file or directory; name a file in a folder" in result.output


def test_a_pipe_that_closes_early_is_no_news(tmp_path: Path) -> None:
    """`bems export events | head -1` prints one line and nothing on standard error."""
    fill(tmp_path, events=[event(f"e-{n}", n) for n in range(5000)])
    command = [sys.executable, "-m", "bems_streams", "export", "events", "--state-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        first = child.stdout.readline()
        child.stdout.close()
        complaints = child.stderr.read()

    assert json.loads(first)["event_id"] == "e-0"
    assert complaints == b""
