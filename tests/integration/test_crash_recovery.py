"""The promise: whatever is killed, whenever, nothing is lost, doubled or wrong."""

import shutil
from dataclasses import replace

import pytest

from tests.integration.conftest import StartCell
from tests.support import RunningCell, eventually, expected_states, real_lines, shown_states

EVENTS, INVOICES = 9704, 676


def assert_everything_is_there(running: RunningCell, times_fed: int) -> None:
    """Rows, duplicates, invoices and states are those of the real log fed that many times."""
    account = running.settle(EVENTS * times_fed)
    assert (account.stored, account.duplicates, account.invoices) == (EVENTS, EVENTS * (times_fed - 1), INVOICES)
    eventually(lambda: shown_states(running.statuses()) == expected_states(), bool)


def test_the_real_log_fed_twice_is_stored_once(running_cell: StartCell) -> None:
    """Fed twice, the real log gives 676 invoices and 9,704 stored events, each invoice in its true state."""
    running = running_cell("tracker", "sink")
    lines = list(real_lines())

    running.append(lines)
    assert_everything_is_there(running, times_fed=1)
    running.append(lines)

    assert_everything_is_there(running, times_fed=2)


@pytest.mark.parametrize("victim", ["tracker", "sink", "broker"])
def test_killing_a_process_in_the_middle_of_a_feed_changes_nothing(running_cell: StartCell, victim: str) -> None:
    """kill -9 in the middle of a feed, restart, feed again: the same result."""
    running = running_cell("tracker", "sink")
    lines = list(real_lines())

    for start in range(0, len(lines), 2500):
        before = progress(running, victim)
        running.append(lines[start : start + 2500])
        eventually(lambda before=before: progress(running, victim), lambda now, before=before: now > before)  # type: ignore[misc]
        if victim == "broker":
            running.cell.kafka.kill(1)
            eventually(lambda: running.cell.kafka.pids, bool)
        else:
            running.kill(victim)
    running.append(lines)

    assert_everything_is_there(running, times_fed=2)


def progress(running: RunningCell, role: str) -> int:
    """How much of the role's work can be seen."""
    account = running.account()
    if account is None:
        return -1
    return account.tracked if role == "tracker" else account.stored


def test_a_tracker_with_a_wiped_disk_rebuilds_its_table(running_cell: StartCell) -> None:
    """kill -9 of the tracker with its disk wiped: the changelog brings everything back, and feeding goes on."""
    running = running_cell("tracker", "sink")
    lines = list(real_lines())
    running.append(lines[:6000])
    running.settle(6000)

    running.cell.processes.stop("tracker", 20.0)
    shutil.rmtree(running.cell.options.state_dir / "tracker-0")
    running.cell.processes.start(replace(running.cell.spec("tracker"), name="tracker-again"))
    running.append(lines)

    account = running.settle(6000 + EVENTS)
    assert (account.stored, account.duplicates, account.invoices) == (EVENTS, 6000, INVOICES)
    eventually(lambda: shown_states(running.statuses()) == expected_states(), bool)
