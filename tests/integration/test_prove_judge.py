"""The judge of a proof before a real cell: closed when nothing was done to it, and a row changed by hand is named."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.kafka_group import KafkaGroup
from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.local.prove.evidence import Evidence, Verdict
from bems_streams.local.prove.judge import judge
from bems_streams.local.prove.judge_ledger import ledger_verification
from bems_streams.local.prove.load_books import Control, Counters, read_counters, write_control
from tests.integration.conftest import StartCell
from tests.support import REPOSITORY, RunningCell, eventually

TIME_SCALE = 86_400.0
MARGIN_US = 3_000_000


def load(running: RunningCell, folder: Path) -> Counters:
    """A load of some seconds with copies, disorder and poison; what it counted in the end."""
    gateway = running.cell.addresses.gateway
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "bems_streams.local.prove.load", "--gateway", gateway, "--seed", "3"),
            *("--bootstrap", running.bootstrap, "--rate", "300", "--time-scale", str(TIME_SCALE), "--out", str(folder)),
            *("--catalogue", str(running.cell.options.catalogue)),
        ],
        cwd=REPOSITORY,
    )

    def counters() -> Counters:
        return read_counters(folder) or Counters()

    try:
        eventually(counters, lambda now: now.acknowledged > 300)
        asked = Control("trouble", poison=27, duplicates=50, reorder=50)
        write_control(folder, asked)
        eventually(counters, lambda now: now.control == asked and now.acknowledged > 1500)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    return counters()


def verdict(running: RunningCell, folder: Path) -> Verdict:
    """What the judge says now."""
    log = KafkaLogReader(running.bootstrap)
    groups = {agent: KafkaGroup(running.bootstrap, f"bems-{agent}") for agent in running.catalogue.agents}
    try:
        return judge(
            Evidence(
                catalogue=running.catalogue,
                folder=folder,
                cell="local-1",
                time_scale=TIME_SCALE,
                judged_us=time.time_ns() // 1000,
                margin_us=MARGIN_US,
                log=log,
                store=running.reader,
                groups=groups,
                verify=ledger_verification(log, running.reader, SystemClock(), running.catalogue, "local-1"),
            )
        )
    finally:
        for group in groups.values():
            group.close()


def test_a_real_cell_is_closed_until_somebody_changes_a_row(running_cell: StartCell, tmp_path: Path) -> None:
    """Load with copies, disorder and poison: closed, alerts included. A row lost or changed by hand is then named."""
    # given
    catalogue = tmp_path / "topics.yaml"
    catalogue.write_text((REPOSITORY / "topics.yaml").read_text().replace("partitions: 12", "partitions: 3"))
    running = running_cell("gateway", "tracker", "sink", catalogue=catalogue, time_scale=TIME_SCALE)
    folder = tmp_path / "load"
    # when
    counters = load(running, folder)
    # then
    settled = eventually(lambda: verdict(running, folder), lambda found: found.closed, 60)
    totals = settled.totals
    assert totals.acknowledged == counters.acknowledged > 1500
    assert totals.accepted == counters.acknowledged + counters.poison
    assert (totals.dead_lettered, totals.dead_letters_read) == (27, 54)
    assert totals.duplicates >= 50
    assert totals.alerts > 20
    # when
    store = sqlite3.connect(running.cell.options.state_dir / "store.sqlite3", timeout=10)
    lost, changed = (event_id for (event_id,) in store.execute("SELECT event_id FROM events LIMIT 2"))
    with store:
        store.execute("DELETE FROM events WHERE event_id = ?", (lost,))
        store.execute("UPDATE events SET invoice_amount = '0.01' WHERE event_id = ?", (changed,))
    store.close()
    # then
    tampered = verdict(running, folder)
    named = {(finding.guarantee, finding.event_id) for finding in tampered.findings}
    assert {("G1", lost), ("G10", changed)} <= named, json.dumps(tampered.findings, default=str)
    assert tampered.broken.keys() == {"G1", "G10"}
