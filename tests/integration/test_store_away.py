"""A sink whose store is away, refuses single records, or comes back: real processes, a real broker, a real file."""

import os
import signal
from pathlib import Path

import httpx

from bems_streams.local.faulty_store import Refusals, Troubles, ask_for
from tests.integration.conftest import StartCell
from tests.support import RunningCell, eventually, real_lines

LINES = 3000


def with_troubles(running_cell: StartCell, folder: Path, *roles: str) -> tuple[RunningCell, Path]:
    """A cell whose store fails on request, and the file that asks for it."""
    control, store = folder / "troubles.json", folder / "store.sqlite3"
    running = running_cell(*roles, store_url=f"faulty:{control}|sqlite:///{store}")
    return running, control


def ready(running: RunningCell, role: str = "sink") -> tuple[int, str]:
    """What its probe says now: (status, body)."""
    try:
        answer = httpx.get(f"{running.cell.addresses.health[role]}/readyz", timeout=5, trust_env=False)
    except httpx.TransportError as error:
        return 0, str(error)
    return answer.status_code, answer.text


def metrics(running: RunningCell) -> str:
    """What the sink tells of itself; nothing while it does not answer."""
    try:
        return httpx.get(f"{running.cell.addresses.health['sink']}/metrics", timeout=5, trust_env=False).text
    except httpx.TransportError:
        return ""


def test_a_store_that_is_away_pauses_the_sink_and_moves_nothing(running_cell: StartCell, tmp_path: Path) -> None:
    """Not ready, with the reason; the same process goes on when the store is back; no lane ever held a record."""
    running, control = with_troubles(running_cell, tmp_path, "tracker", "sink")
    lines = list(real_lines())[:LINES]
    running.append(lines[:1000])
    running.settle(1000)
    pid = running.cell.pid("sink")

    ask_for(control, Troubles(away=True))
    running.append(lines[1000:])
    _, why = eventually(lambda: ready(running), lambda answer: answer[0] == 503)
    assert "paused since" in why and "the store is away" in why
    eventually(lambda: ready(running, "tracker")[0], lambda status: status == 200)
    assert running.reader.counts().stored == 1000
    said = eventually(lambda: metrics(running), lambda text: 'bems_agent_paused{agent="sink"} 1.0' in text)
    assert 'bems_agent_pauses_total{agent="sink",code="store_away"}' in said

    ask_for(control, Troubles())
    account = running.settle(LINES)
    assert (account.stored, account.dead_lettered) == (LINES, 0)
    eventually(lambda: ready(running), lambda answer: answer[0] == 200)
    assert running.cell.pid("sink") == pid
    assert [topic for topic in running.catalogue.lanes("sink") if running.records(topic)] == []


def test_a_paused_sink_gives_its_partitions_back_and_stops_in_order(running_cell: StartCell, tmp_path: Path) -> None:
    """A second sink joins while the first one waits for the store: the group is not held up. SIGTERM ends it with 0."""
    running, control = with_troubles(running_cell, tmp_path, "sink-0", "sink-1")
    ask_for(control, Troubles(away=True))
    running.append(list(real_lines())[:LINES])
    eventually(lambda: ready(running, "sink-0")[0], lambda status: status == 503)
    sinks = running.cell.processes

    pid = running.cell.pid("sink-0")
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    ended = eventually(
        lambda: next(status for status in sinks.statuses() if status.name == "sink-0"),
        lambda status: status.exit_code is not None,
        40,
    )
    assert ended.exit_code == 0

    ask_for(control, Troubles())
    eventually(lambda: running.reader.counts().stored, lambda stored: stored == LINES)
    assert running.reader.counts().duplicates == 0


def test_a_refused_record_waits_in_a_lane_and_heals_or_is_given_up(running_cell: StartCell, tmp_path: Path) -> None:
    """Others are stored at once; most of the refused ones on a later try; those never taken become dead letters."""
    catalogue = tmp_path / "topics.yaml"
    written = Path("topics.yaml").read_text(encoding="utf-8")
    catalogue.write_text(written.replace("[5s, 1m, 10m]", "[1s, 2s, 3s]"), encoding="utf-8")
    control, store = tmp_path / "troubles.json", tmp_path / "store.sqlite3"
    ask_for(control, Troubles(refuse=(Refusals("t", share=0.05, tries=2, for_ever=0.01),)))
    running = running_cell("sink", catalogue=catalogue, store_url=f"faulty:{control}|sqlite:///{store}")

    running.append(list(real_lines())[:LINES])
    eventually(lambda: running.reader.counts().retrying, lambda retrying: retrying > 0)
    counts = eventually(
        running.reader.counts, lambda c: c.stored + c.dead_lettered == LINES and c.retrying == 0, deadline_seconds=120
    )

    assert 0 < counts.dead_lettered < LINES * 0.03
    notes = running.reader.dead_letters()
    assert {note.code for note in notes} == {"store_refused"}
    spans = running.reader.ledger("sink", 0, 2**62)
    assert sum(span.stored for span in spans) == counts.stored
    assert sum(span.dead_lettered for span in spans) == counts.dead_lettered == len(notes)
