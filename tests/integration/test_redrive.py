"""Dead letters of real agents, sent again by the real command over a real broker."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer

from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.domain.event import instant
from bems_streams.flows.dead_letters import DeadLetters
from bems_streams.flows.redrive.audit import Run, read_audit
from bems_streams.local.cell import PROGRAM
from tests.integration.conftest import StartCell
from tests.support import REPOSITORY, RunningCell, eventually

AGENTS: Final = ("tracker", "sink")
YESTERDAY: Final = (sys.executable, "-m", "tests.integration.yesterday")
DAY_SECONDS: Final = 86_400
RECORDS: Final = 9_300


def line(event_id: str, invoice: int, stage: str, occurred: float = 1_750_000_000, **more: Any) -> bytes:
    """An event."""
    at = instant(int(occurred * 1e6)).isoformat()
    required = {
        "event_id": event_id,
        "source": "erp",
        "occurred_at": at,
        "invoice_id": f"INV-{invoice}",
        "stage": stage,
    }
    amount = {"invoice_amount": "10.50", "currency": "EUR"}
    return json.dumps(required | amount | more).encode()


def fast_lanes(folder: Path) -> Path:
    """The catalogue with a schedule of one short wait."""
    path = folder / "topics.yaml"
    path.write_text((REPOSITORY / "topics.yaml").read_text().replace("retry: [5s, 1m, 10m]", "retry: [200ms]"))
    return path


class Feeder:
    """Writes records of every kind straight to the stage topics, and counts what must die of them, per agent."""

    def __init__(self, running: RunningCell, seed: int) -> None:
        self._rng = random.Random(seed)
        self._topics = running.catalogue.stage_topics
        self._producer = Producer(
            {"bootstrap.servers": running.bootstrap, "partitioner": "murmur2_random", "acks": "all",
             "enable.idempotence": True, "linger.ms": 5, "log_level": 3, "queue.buffering.max.messages": 200_000}
        )  # fmt: skip
        self.accepted = 0
        self.dead = 0
        self.due = time.time() + DAY_SECONDS + 45  # refused until 45 seconds from now

    def feed(self, number: int) -> None:
        """One record, with its copies."""
        rng, event_id = self._rng, f"E-{number}"
        stage, invoice = rng.choice([*self._topics]), rng.randrange(RECORDS // 4)
        new: dict[str, Any] = {"attributes": {"new": "1"}}
        kind = rng.choice(["mended"] * 4 + ["poison", "copies", "stored", "soon", "never"])
        if kind == "poison":
            other = line(event_id, invoice + 1, stage)
            self._produce(stage, invoice, rng.choice([b"", b"{", b"\xff", line(event_id, invoice, "nowhere"), other]))
        elif kind == "soon":
            self._produce(stage, invoice, line(event_id, invoice, stage, self.due))
        elif kind == "never":
            self._produce(stage, invoice, line(event_id, invoice, stage, self.due + 900 * DAY_SECONDS))
        else:
            self._produce(stage, invoice, line(event_id, invoice, stage, **new))
            if kind == "copies":
                self._produce(
                    other_stage := rng.choice([*self._topics]), invoice, line(event_id, invoice, other_stage, **new)
                )
            elif kind == "stored":
                self._produce(stage, invoice, line(event_id, invoice, stage))
                self.dead -= 1

    def _produce(self, stage: str, invoice: int, value: bytes) -> None:
        self._producer.produce(self._topics[stage], value, f"INV-{invoice}".encode())
        self.accepted += 1
        self.dead += 1

    def close(self) -> None:
        """All of it is durable."""
        assert self._producer.flush(60) == 0


def letters_of(running: RunningCell, agent: str) -> int:
    """Dead letters there are."""
    letters = DeadLetters(KafkaLogReader(running.bootstrap), running.catalogue)
    return sum(extent.end for extent in letters.extents(agent).values())


def deploy(running: RunningCell, generation: int) -> None:
    """Replace both agents with today's."""
    for role in AGENTS:
        running.cell.processes.stop(role, 30.0)
        spec = running.cell.spec(role)
        command = [*PROGRAM, *spec.command[len(YESTERDAY) :]]
        running.cell.processes.start(replace(spec, name=f"{role}-{generation}", command=command))


def bems(running: RunningCell, *arguments: str) -> subprocess.Popen[str]:
    """The command, as an operator types it."""
    options = running.cell.options
    environment = {**os.environ, "BEMS_BOOTSTRAP": running.bootstrap, "BEMS_STATE_DIR": str(options.state_dir)}
    if options.catalogue is not None:
        environment["BEMS_CATALOGUE"] = str(options.catalogue)
    command = [*PROGRAM, "dlq", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str], code: int, seconds: float = 240) -> str:
    """What it printed, once it has ended with this code."""
    out, errors = process.communicate(timeout=seconds)
    assert process.returncode == code, f"ended with {process.returncode}\n{out}\n{errors}"
    assert "Traceback" not in errors
    return out


def audited(running: RunningCell) -> list[Run]:
    """Every run, as the audit tells."""
    return [*read_audit(KafkaLogReader(running.bootstrap), running.catalogue).runs.values()]


def died(running: RunningCell, count: int) -> None:
    """Wait until so many records are dead letters of both agents."""
    for agent in AGENTS:
        eventually(lambda agent=agent: letters_of(running, agent), lambda found: found >= count, 120)  # type: ignore[misc]
    eventually(lambda: running.reader.counts().dead_lettered, lambda found: found >= count, 120)


@pytest.mark.timeout(900)
def test_predictions_come_true_on_ten_thousand_dead_letters(running_cell: StartCell, tmp_path: Path) -> None:
    """Real agents of yesterday leave them, today's get them again: the store and the ledger end as they should."""
    running = running_cell(*AGENTS, catalogue=fast_lanes(tmp_path), program=YESTERDAY)
    feeder = Feeder(running, 11)
    for number in range(RECORDS):
        feeder.feed(number)
    feeder.close()
    died(running, feeder.dead)
    deploy(running, 2)
    eventually(time.time, lambda now: now > feeder.due - DAY_SECONDS, 60)
    hurry = ("--yes", "--rate", "5000/s", "--stop-relapse", "1")

    foretold = ended(bems(running, "redrive", "--agent", "sink", "--dry-run"), 0)
    before = letters_of(running, "sink")
    sink = ended(bems(running, "redrive", "--agent", "sink", "--who", "jane", *hurry), 0)
    tracker = ended(bems(running, "redrive", "--agent", "tracker", *hurry), 0)
    stored = running.reader.counts().stored

    assert feeder.dead >= 10_000
    assert "0 records differ from the prediction" in sink
    assert "0 records differ from the prediction" in tracker
    first, second = audited(running)
    assert (first.who, first.terms.agent, second.terms.agent) == ("jane", "sink", "tracker")
    assert first.result == first.prediction
    assert second.result == second.prediction
    assert sum(first.result.values()) == sum(second.result.values()) == feeder.dead
    assert all(number > 500 for number in (*first.result.values(), *second.result.values()))
    assert all(f"{number:,}" in foretold for number in first.prediction.values())
    assert letters_of(running, "sink") == before + first.result["still_failing"]
    counts = running.reader.counts()
    assert counts.dead_lettered == first.result["still_failing"]
    account = eventually(running.account, lambda account: account is not None and account.closed)
    assert account is not None and account.accepted == feeder.accepted

    again = ended(bems(running, "redrive", "--agent", "sink", *hurry), 0)
    assert f"{first.result['stored'] + first.result['duplicate']:,}" in again
    assert running.reader.counts().stored == stored
    listed = json.loads(ended(bems(running, "list", "--agent", "tracker", "--open", "--json"), 0))
    assert {count["code"] for count in listed["counts"]} == {"not_json", "wrong_stage", "wrong_key", "future_dated"}


def test_a_killed_run_and_a_paused_run_go_on(running_cell: StartCell) -> None:
    """SIGKILL in the middle, then Ctrl-C in the middle: the run ends with every record sent once."""
    running = running_cell(*AGENTS, program=YESTERDAY)
    running.append([line(f"E-{n}", n, "posting", attributes={"new": "1"}) for n in range(600)])
    died(running, 600)
    deploy(running, 2)
    redriven = running.catalogue.redrive_topic("sink")

    def sent() -> int:
        return len(running.records(redriven))

    process = bems(running, "redrive", "--agent", "sink", "--yes", "--rate", "60")
    eventually(sent, lambda count: count >= 100)
    process.kill()
    process.communicate(timeout=30)
    (run,) = audited(running)
    killed_at = sent()
    process = bems(running, "redrive", "--resume", run.name, "--yes", "--rate", "60")
    eventually(sent, lambda count: count >= killed_at + 100)
    process.send_signal(signal.SIGINT)
    paused = ended(process, 1)
    paused_at = sent()
    (standing,) = audited(running)
    finished = ended(bems(running, "redrive", "--resume", run.name, "--yes", "--rate", "5000"), 0)

    assert run.step in ("started", "sending")
    assert 100 <= killed_at < paused_at < 600
    assert (standing.step, standing.reason) == ("paused", "asked to stop")
    assert f"--resume {run.name}" in paused
    assert "0 records differ" in finished
    (last,) = audited(running)
    assert last.result == last.prediction == {"stored": 600}
    assert sent() == 600
    assert running.reader.counts().stored == 600
    assert ended(bems(running, "redrive", "--resume", run.name), 1) == ""
