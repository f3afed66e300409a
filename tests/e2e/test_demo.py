"""The one-machine cell, as a new user runs it: one command, real processes, everything accounted for."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bems_streams.adapters.stores import default_store_url, open_reader
from bems_streams.local.account import Account
from bems_streams.local.demo import Report
from bems_streams.local.visibility import Seen
from tests.support import REAL_LOG, eventually, expected_states, shown_states

BEMS = (sys.executable, "-m", "bems_streams")
EVENTS, INVOICES = 9704, 676
VICTIMS = {"gateway": "gateway", "tracker": "tracker", "sink": "sink", "broker": "kafka.Kafka"}


def demo(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start `bems demo --exit` with its output in a file."""
    with (folder / "demo.log").open("ab") as log:
        return subprocess.Popen(
            [*BEMS, "demo", "--exit", "--json", str(folder / "summary.json"), *arguments], stdout=log, stderr=log
        )


def summary(folder: Path, process: "subprocess.Popen[bytes]", deadline_seconds: float = 240) -> dict[str, Any]:
    """What it wrote, once it has ended well."""
    code = process.wait(deadline_seconds)
    assert code == 0, (folder / "demo.log").read_text()[-4000:]
    document: dict[str, Any] = json.loads((folder / "summary.json").read_bytes())
    return document


def children(process: "subprocess.Popen[bytes]") -> dict[str, psutil.Process]:
    """The cell's processes by role, found below the demo's own pid."""
    found = {}
    for child in psutil.Process(process.pid).children():
        try:
            command = child.cmdline()
        except psutil.NoSuchProcess:
            continue
        role = next((role for role, word in VICTIMS.items() if word in command), None)
        if role is not None:
            found[role] = child
    return found


def exported(state_dir: Path, what: str) -> Sequence[dict[str, Any]]:
    """`bems export …` of a cell that no longer runs."""
    command = [*BEMS, "export", what, "--format", "jsonl", "--state-dir", str(state_dir)]
    lines = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_a_simulated_month_is_accounted_for(tmp_path: Path) -> None:
    """Made-up events, copies, mistakes and poison: each ends as exactly one thing, and some invoices are stuck."""
    found = summary(tmp_path, demo(tmp_path, "--events", "3000", "--seed", "7"))

    assert found["closed"] is True
    assert found["accepted"] == found["stored"] + found["duplicates"] + found["dead_lettered"]
    assert found["stored"] == found["run"]["fed"]["ground_truth"]["valid"]
    assert found["duplicates"] >= found["run"]["fed"]["ground_truth"]["duplicates"] > 0
    assert found["dead_lettered"] > 0
    assert found["invoices"] == found["run"]["fed"]["ground_truth"]["invoices"]
    assert found["stuck"] > 0
    assert 0 < found["visible_p50_ms"] <= found["visible_p99_ms"]
    assert found["events_per_second"] > 0


def test_the_real_log_survives_a_kill_of_every_process_and_a_lost_disk(tmp_path: Path) -> None:
    """Everything is killed in the middle of a feed, the tracker's disk is wiped, the log is fed again: no trace."""
    state_dir = tmp_path / "cell"
    first = demo(tmp_path, "--feed", str(REAL_LOG), "--rate", "1200", "--state-dir", str(state_dir))
    reader = open_reader(default_store_url(state_dir))
    for place, role in enumerate(VICTIMS, start=1):
        enough = place * 1500
        eventually(lambda enough=enough: reader.counts().stored, lambda stored, enough=enough: stored > enough, 120)  # type: ignore[misc]
        os.kill(eventually(lambda: children(first), lambda found, role=role: role in found)[role].pid, signal.SIGKILL)  # type: ignore[misc]
    reader.close()
    found = summary(tmp_path, first)
    assert (found["stored"], found["invoices"], found["closed"]) == (EVENTS, INVOICES, True)

    shutil.rmtree(state_dir / "tracker-0")
    again = summary(tmp_path, demo(tmp_path, "--feed", str(REAL_LOG), "--state-dir", str(state_dir)))

    assert (again["stored"], again["invoices"], again["dead_lettered"]) == (EVENTS, INVOICES, 0)
    assert again["run"]["duplicates"] == again["run"]["accepted"] == EVENTS
    assert again["accepted"] == again["stored"] + again["duplicates"]
    assert len(exported(state_dir, "events")) == EVENTS
    statuses = {status["invoice_id"]: status for status in exported(state_dir, "invoices")}
    assert shown_states(statuses) == expected_states()


def test_ctrl_c_stops_everything_in_order(tmp_path: Path) -> None:
    """In the middle of a feed: the demo ends with 0, no process is left, and what was accepted can still be read."""
    state_dir = tmp_path / "cell"
    with (tmp_path / "demo.log").open("ab") as log:
        command = [*BEMS, "demo", "--rate", "500", "--events", "50000", "--state-dir", str(state_dir)]
        running = subprocess.Popen(command, stdout=log, stderr=log)
    reader = open_reader(default_store_url(state_dir))
    eventually(lambda: reader.counts().stored, lambda stored: stored > 500, 120)
    started = psutil.Process(running.pid).children(recursive=True)

    running.send_signal(signal.SIGINT)

    assert running.wait(120) == 0, (tmp_path / "demo.log").read_text()[-4000:]
    left = [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert left == []
    assert "Traceback" not in (tmp_path / "demo.log").read_text()
    assert len(exported(state_dir, "events")) == reader.counts().stored
    reader.close()


def test_an_unaccounted_event_makes_the_summary_say_so() -> None:
    """The equation is computed, not assumed: one record too few and the ledger is not closed."""
    short = Account(accepted=10, stored=7, duplicates=1, dead_lettered=1, invoices=2, stuck=0, tracked=7)

    report = Report(short, Seen(0, None, None), short, 1.0, {})

    assert report.document()["closed"] is False
