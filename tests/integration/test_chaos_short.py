"""A minute of everything at once: two trackers under load, killed, frozen, wiped, and their broker bounced.

Not here: each fault by itself (test_crash_recovery.py, test_fence.py).
"""

import json
import os
import signal
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

from bems_streams.domain.codec import decode_tracked
from tests.integration.chaos_load import Logged, Upstream, arrivals, logged, micros, state_of
from tests.integration.conftest import StartCell
from tests.support import RunningCell, eventually

SEED, INVOICES, SECONDS = 11, 3000, 45.0
TIME_SCALE = 43_200.0  # limits of 2, 10 and 6 seconds
DAY_US = 86_400_000_000
LIMITS_US = {
    "ingestion": round(DAY_US / TIME_SCALE),
    "reconciliation": round(5 * DAY_US / TIME_SCALE),
    "authorization": round(3 * DAY_US / TIME_SCALE),
    "posting": None,
}
FROZEN_SECONDS = 9.0  # longer than the session of 6 s
LONGEST_LIMIT_SECONDS = 10.0

Alert = tuple[str, str, int | None]  # kind, stage, deadline


def test_a_minute_of_chaos_changes_nothing(running_cell: StartCell) -> None:
    """Whatever happens, rows, revisions, states and alerts are what the log says, once each."""
    running = running_cell("tracker", "sink", time_scale=TIME_SCALE)
    second = second_tracker(running)
    upstream = Upstream(running, arrivals(SEED, INVOICES, SECONDS))
    upstream.start()

    everything_happens(running, second)
    upstream.join()

    assert upstream.refused == []
    log, broken = logged(running)
    everything_is_accounted_for(running, log, broken)
    revisions_are_dense(running, log)
    eventually(lambda: wrong_states(running, log), lambda wrong: not wrong, LONGEST_LIMIT_SECONDS + 30)
    alerts_are_true(running, log)


def second_tracker(running: RunningCell) -> str:
    """Another member, with a disk of its own."""
    spec = running.cell.spec("tracker")
    command = [*spec.command[: spec.command.index("tracker") + 1], "--instance", "tracker-1", "--session-seconds", "6"]
    running.cell.processes.start(replace(spec, name="tracker-1", command=command))
    return "tracker-1"


def everything_happens(running: RunningCell, second: str) -> None:
    """The faults, timed so that recoveries overlap: the pauses are the script, nothing is awaited by them."""
    time.sleep(8)
    running.kill(second)
    time.sleep(4)
    freeze(running, "tracker")
    running.kill("sink")
    wipe(running, second)
    time.sleep(3)
    running.cell.kafka.kill(1)
    eventually(lambda: running.cell.kafka.pids, bool)
    time.sleep(2)
    freeze(running, second)


def freeze(running: RunningCell, role: str) -> None:
    """SIGSTOP for longer than its session, then SIGCONT."""
    pid = eventually(lambda: running.cell.pid(role), lambda pid: pid is not None)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    os.kill(pid, signal.SIGCONT)


def wipe(running: RunningCell, role: str) -> None:
    """SIGKILL, and its disk is gone before it is back."""
    running.kill(role)
    disk = running.cell.options.state_dir / "tracker-1"
    disk.rename(disk.with_name("gone"))


def everything_is_accounted_for(running: RunningCell, log: dict[str, list[Logged]], broken: int) -> None:
    """Invariant 1: each accepted event is stored, a duplicate or a dead letter."""
    total = sum(map(len, log.values())) + broken
    distinct = sum(len({one.event["event_id"] for one in records}) for records in log.values())
    account = running.settle(total)
    assert (account.stored, account.duplicates, account.dead_lettered) == (distinct, total - distinct - broken, broken)
    assert account.invoices == len(log)


def revisions_are_dense(running: RunningCell, log: dict[str, list[Logged]]) -> None:
    """Invariant 2: 1, 2, 3, … of every invoice, in what subscribers see and in the changelog."""
    status, changelog = running.catalogue.status_topic, running.catalogue.changelog_topic("tracker")
    for topic in (status, changelog):
        found = defaultdict[bytes, list[int]](list)
        for record in running.records(topic):
            value = record.value()
            revision = json.loads(value)["revision"] if topic == status else decode_tracked(value).revision
            found[record.key()].append(revision)
        assert {key.decode() for key in found} == set(log)
        for invoice, seen in found.items():
            assert seen == list(range(1, len(seen) + 1)), (topic, invoice)


def wrong_states(running: RunningCell, log: dict[str, list[Logged]]) -> list[Any]:
    """Invariant 3: invoices whose shown state is not what their log gives once every deadline has passed."""
    shown, wrong = running.statuses(), list[Any]()
    for invoice, records in log.items():
        expected, status = state_of(records, LIMITS_US), shown[invoice]
        expected["stuck_since"] = expected["deadline"]
        found = {
            "stage": status["stage"],
            "entered": micros(status["stage_entered_at"]),
            "deadline": micros(status["deadline"]),
            "counts": {name: stage["events"] for name, stage in status["stages"].items()},
            "stuck_since": micros(status["stuck_since"]),
        }
        if found != expected:
            wrong.append((invoice, found, expected))
    return wrong[:3]


def alerts_are_true(running: RunningCell, log: dict[str, list[Logged]]) -> None:
    """Invariant 4: stuck and cleared take turns, none comes twice, none was false, and the last one agrees."""
    found = defaultdict[str, list[Alert]](list)
    for record in running.records(running.catalogue.alerts_topic):
        alert = json.loads(record.value())
        found[alert["invoice_id"]].append((alert["kind"], alert["stage"], micros(alert["deadline"])))
    assert any(kind == "cleared" for alerts in found.values() for kind, *_ in alerts)
    for invoice, records in log.items():
        alerts = found[invoice]
        assert len(set(alerts)) == len(alerts), (invoice, alerts)
        assert [kind for kind, *_ in alerts] == (["stuck", "cleared"] * len(alerts))[: len(alerts)], (invoice, alerts)
        for (_, *raised), (_, *cleared) in zip(alerts[::2], alerts[1::2], strict=False):
            assert raised == cleared, invoice
        for _, stage, deadline_us in alerts[::2]:
            assert was_so(records, stage, deadline_us or 0), (invoice, stage, deadline_us, records)
        assert (len(alerts) % 2 == 1) == (state_of(records, LIMITS_US)["deadline"] is not None), (invoice, alerts)


def was_so(records: list[Logged], stage: str, deadline_us: int) -> bool:
    """Whether a tracker that knew all events accepted before the deadline could see this stage and deadline."""
    known = sum(one.accepted_us < deadline_us for one in records)
    states = [state_of(records[:count], LIMITS_US) for count in range(max(known, 1), len(records) + 1)]
    return any((state["stage"], state["deadline"]) == (stage, deadline_us) for state in states)
