"""The ledger over a real broker, real agents and a real store: closed when it should be, and loud when it is not."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from bems_streams.adapters.stores import default_store_url
from bems_streams.cli.ledger_watch import NICE
from bems_streams.ports import EventRow
from tests.integration.conftest import StartCell
from tests.support import RunningCell, eventually, real_lines

EVENTS = 600


def verify(cell: RunningCell, tmp_path: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and text of `bems ledger verify`."""
    out = tmp_path / "verify.json"
    done = run("verify", "--json", str(out), *where(cell), *options)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(out.read_bytes()), done.stdout


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bems_streams", "ledger", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def where(cell: RunningCell) -> list[str]:
    return ["--bootstrap", cell.bootstrap, "--state-dir", str(cell.cell.options.state_dir)]


def receipt(row: EventRow) -> str:
    return f"local-1/{row.at.topic}/{row.at.partition}/{row.at.offset}"


def damage(cell: RunningCell, statement: str, *values: object) -> int:
    """By hand, as somebody with access to the file could. How many rows it hit."""
    path = default_store_url(cell.cell.options.state_dir).removeprefix("sqlite:///")
    with sqlite3.connect(path, timeout=30) as connection:
        changed = connection.execute(statement, values).rowcount
    connection.close()
    return changed


def append_in_transactions(cell: RunningCell, lines: list[bytes]) -> None:
    """As an upstream with transactions does: every second one is aborted."""
    producer = Producer(
        {"bootstrap.servers": cell.bootstrap, "transactional.id": "upstream", "partitioner": "murmur2_random"}
    )
    producer.init_transactions(30)
    for number, line in enumerate(lines):
        event = json.loads(line)
        producer.begin_transaction()
        producer.produce(cell.catalogue.stage_topics[event["stage"]], key=event["invoice_id"].encode(), value=line)
        producer.flush(30)
        (producer.abort_transaction if number % 2 else producer.commit_transaction)(30)


@pytest.fixture
def fed(running_cell: StartCell) -> RunningCell:
    """A cell with real events, duplicates, poison and an upstream that writes in transactions; all handled."""
    cell = running_cell("tracker", "sink")
    events = [json.loads(line) for line in islice(real_lines(), EVENTS)]
    lines = [
        json.dumps(event | {"invoice_amount": f"{number}.{number % 100:02}", "currency": "EUR"}).encode()
        for number, event in enumerate(events)
    ]
    poison = b'{"invoice_id":"INV-POISON","event_id":"E-POISON","stage":"ingestion"}'
    cell.append([*lines, *lines[:50], poison])
    append_in_transactions(cell, lines[100:110])
    return cell


def test_every_way_of_getting_lost_is_named(fed: RunningCell, tmp_path: Path) -> None:
    """A row deleted by hand, an amount changed, a ledger range never written: by receipt and event id."""
    code, closed, text = verify(fed, tmp_path, "--wait", "60", "--deep")
    assert (code, closed["findings"]) == (0, []), text
    lines = [line for line in closed["lines"] if line["agent"] == "sink"]
    assert sum(line["accepted"] for line in lines) == EVENTS + 50 + 1 + 5
    assert sum(line["duplicates"] for line in lines) == 55
    assert [(t["currency"], t["accepted"] == t["stored"] == t["in_log"]) for t in closed["totals"]] == [("EUR", True)]

    rows = list(fed.reader.events())
    lost, changed = rows[0], rows[1]
    assert damage(fed, "DELETE FROM events WHERE event_id = ?", lost.event_id) == 1
    assert damage(fed, "UPDATE events SET invoice_amount = '0.01' WHERE event_id = ?", changed.event_id) == 1
    code, wrong, text = verify(fed, tmp_path)

    assert (code, wrong["missing"]) == (1, 1)
    found = {found["kind"]: (found["receipt"], found["event_id"], found["invoice_id"]) for found in wrong["findings"]}
    assert found == {
        "missing": (receipt(lost), lost.event_id, lost.invoice_id),
        "changed": (receipt(changed), changed.event_id, changed.invoice_id),
    }
    assert all(part in text for part in (receipt(lost), lost.event_id, "NOT CLOSED: 1 missing, 1 changed"))

    at = rows[2].at
    where_at = "agent = 'sink' AND topic = ? AND partition = ?"
    assert damage(fed, f"DELETE FROM ledger WHERE {where_at}", at.topic, at.partition)
    code, unwritten, _ = verify(fed, tmp_path, "--topic", at.topic)

    ranges = [found for found in unwritten["findings"] if found["kind"] == "unrecorded"]
    assert code == 1
    assert {(found["topic"], found["partition"]) for found in ranges} == {at[:2]}
    assert any(found["first_offset"] <= at.offset < found["next_offset"] for found in ranges)

    amount = "UPDATE events SET invoice_amount = ? WHERE event_id = ?"
    assert damage(fed, amount, changed.invoice_amount, changed.event_id) == 1
    repaired = run("repair", *where(fed))
    code, closed_again, text = verify(fed, tmp_path, "--deep")

    assert (repaired.returncode, code, closed_again["findings"]) == (0, 0, []), repaired.stdout + text
    assert closed_again["lines"] == closed["lines"]
    [started, finished] = [json.loads(record.value()) for record in fed.records("invoices.audit")]
    assert (started["action"], started["step"], finished["step"]) == ("repair", "started", "finished")
    assert finished["result"]["records"] > 0


def test_the_watch_tells_probes_and_metrics_within_two_minutes(fed: RunningCell, tmp_path: Path) -> None:
    """Ready while it is closed; then 503 with the reason and the command, a metric, and a log line with the name.

    It gives way to everything else while it does so.
    """
    verify(fed, tmp_path, "--wait", "60")
    log = (tmp_path / "watch.log").open("w+")
    command = [sys.executable, "-m", "bems_streams", "ledger", "watch", "--every", "1", *where(fed)]
    process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        said = eventually((tmp_path / "watch.log").read_text, lambda text: "/readyz" in text)
        address = said.split("ledger: ", 1)[1].split("/readyz", 1)[0]
        eventually(lambda: httpx.get(f"{address}/readyz").status_code, lambda status: status == 200)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + NICE
        victim = next(fed.reader.events())
        assert damage(fed, "DELETE FROM events WHERE event_id = ?", victim.event_id) == 1

        answer = eventually(lambda: httpx.get(f"{address}/readyz"), lambda answer: answer.status_code == 503, 120)

        assert answer.json()["reason"] == "the ledger is not closed: 1 events missing; run: bems ledger verify"
        metrics = httpx.get(f"{address}/metrics").text
        assert f'bems_ledger_missing_events{{agent="sink",stage="{victim.stage}"}} 1.0' in metrics
        eventually((tmp_path / "watch.log").read_text, lambda text: f"{receipt(victim)} missing" in text)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        log.close()
