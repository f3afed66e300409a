"""How a run goes on, pauses, stops and is resumed, and what is written down of it."""

import asyncio
from collections.abc import Sequence

import pytest

from bems_streams.domain.accounting import decode_audit
from bems_streams.flows.dead_letters import DeadLetter, Filter
from bems_streams.flows.envelope import disclose
from bems_streams.flows.redrive.audit import Step
from bems_streams.flows.redrive.pace import TokenBucket
from bems_streams.flows.redrive.run import AHEAD_RECORDS, FIRST_RECORDS, Limits
from bems_streams.flows.redrive.terms import Verdict
from bems_streams.ports import Coordinates, OutRecord, PublishFailedError
from tests.unit.flow_kit import SECOND_US, FrozenClock
from tests.unit.redrive_kit import CATALOGUE, Given, MemoryCell
from tests.unit.test_redrive import NEW, REFUSED, dead_cell, good


def origins(cell: MemoryCell) -> list[Coordinates]:
    """What was sent, by original coordinates."""
    found = [disclose(record) for record in cell.sent()]
    return [original[0].at for original in found if isinstance(original, tuple)]


async def test_an_empty_topic_ends_at_once() -> None:
    """Nothing is waited for: there is nothing to send, and none will come."""
    cell = MemoryCell()

    ending = await cell.redrive()

    assert ending.run.step is Step.FINISHED
    assert ending.told is not None and ending.told.result == {}
    assert cell.slept_seconds == []


async def test_no_more_than_the_rate_is_sent() -> None:
    """On any stretch of time, on a frozen clock, and the whole takes as long as it must."""
    cell = await dead_cell(120)
    began_us, sent_at = cell.clock.us, list[int]()
    cell.log.before_publish = lambda records: sent_at.extend(
        cell.clock.us for record in records if record.topic == CATALOGUE.redrive_topic("sink")
    )

    ending = await cell.redrive(Given(limits=Limits(per_second=10, stop_relapse=1.0)))

    assert ending.run.result == {"stored": 120}
    assert len(sent_at) == 120
    for start, moment in enumerate(sent_at):
        within = sum(moment <= later < moment + SECOND_US for later in sent_at[start:])
        assert within <= 2 * 10
    assert sent_at[-1] - began_us >= 11 * SECOND_US


def test_a_pause_saves_up_no_more_than_a_second() -> None:
    """After an hour of waiting there is no burst, and a clock that is set back stops nothing for ever."""
    clock = FrozenClock()
    bucket = TokenBucket(5, clock)
    clock.us += 3600 * SECOND_US
    assert bucket.available() == 5

    bucket.take(5)
    clock.us -= 1800 * SECOND_US
    assert bucket.available() == 0
    clock.us += SECOND_US // 5
    assert bucket.available() == 1


async def test_the_cap_holds_and_the_rest_is_counted() -> None:
    """No more than asked for; the next run takes the next."""
    cell = await dead_cell(60)

    plan = cell.plan(cell.started(Given(limit=25)))
    first = await cell.redrive(Given(limit=25))
    second = await cell.redrive(Given(limit=50))

    assert (plan.to_send, plan.beyond_limit) == (25, 35)
    assert first.run.result == {"stored": 25}
    assert second.run.result == {"already_handled": 25, "stored": 35}
    assert len(set(origins(cell))) == len(origins(cell)) == 60


async def test_only_what_the_filter_names_is_sent() -> None:
    """By code, stage, invoice and time of failure."""
    cell = await dead_cell(20)
    first_us = cell.clock.us
    cell.deploy_old_code()
    good(cell, "E-late", 3, "posting", **NEW)
    await cell.work(60)
    cell.deploy_new_code()

    by_invoice = cell.plan(cell.started(Given(filter=Filter(invoice="INV-3"))))
    by_stage = cell.plan(cell.started(Given(filter=Filter(stage="posting"))))
    by_code = cell.plan(cell.started(Given(filter=Filter(code="not_json"))))
    since = cell.plan(cell.started(Given(filter=Filter(since_us=first_us + 1))))
    until = cell.plan(cell.started(Given(filter=Filter(until_us=first_us + 1))))

    assert [plan.to_send for plan in (by_invoice, by_stage, by_code, since, until)] == [2, 1, 0, 1, 20]


async def test_the_first_few_are_sent_alone() -> None:
    """Until the agent has handled them, nothing follows: what is wrong with all shows on them."""
    cell = await dead_cell(300)
    cell.sink.awake = False

    ending = await cell.redrive(Given(limits=Limits(1e6, 1.0, patience_seconds=30)))

    assert ending.run.step is Step.PAUSED
    assert len(cell.sent()) == FIRST_RECORDS
    assert "the sink has handled nothing for 30 s" in (ending.run.reason or "")
    assert "bems worker sink" in (ending.run.reason or "")


async def test_sending_stays_within_reach_of_the_agent() -> None:
    """A slow agent is never far behind, so that a stop still saves most."""
    cell = await dead_cell(AHEAD_RECORDS + 500)
    cell.sink.most_records = 150
    ahead = list[int]()

    def note(records: Sequence[OutRecord]) -> None:
        under_way = sum(
            len(log) - cell.sink.done[place] for place, log in cell.log.logs.items() if "sink.red" in place[0]
        )
        ahead.append(under_way)

    cell.log.before_publish = note

    ending = await cell.redrive()

    assert ending.run.result == {"stored": AHEAD_RECORDS + 500}
    assert max(ahead) <= AHEAD_RECORDS


async def test_a_run_stops_when_too_many_fail_again() -> None:
    """What goes wrong for the first goes wrong for the rest: it is not sent, and the audit says why."""
    cell = await dead_cell(300)
    cell.deploy_old_code()

    ending = await cell.redrive(Given(limits=Limits(1e6, stop_relapse=0.2)))

    assert ending.run.step is Step.STOPPED
    assert "20 of 20 records failed again (100%), more than 20%" in (ending.run.reason or "")
    assert len(cell.sent()) == FIRST_RECORDS
    assert ending.told is not None and ending.told.result == {Verdict.STILL_FAILING: FIRST_RECORDS}
    assert len(ending.told.differences) == FIRST_RECORDS


async def test_a_bearable_share_of_relapses_does_not_stop_a_run() -> None:
    """One in seven, where one in five is borne."""
    cell = await dead_cell(300)
    cell.store.why = lambda event_id: REFUSED if int(event_id[2:]) % 7 == 0 else None

    ending = await cell.redrive(Given(limits=Limits(1e6, stop_relapse=0.2)))

    assert ending.run.step is Step.FINISHED
    assert ending.run.result == {"stored": 257, "still_failing": 43}


async def test_a_paused_run_goes_on_where_it_stopped_with_the_ends_of_its_start() -> None:
    """Each record is sent once in all; what died after the start is not touched; the result is of the whole run."""
    cell = await dead_cell(200)
    slowly = Limits(per_second=40, stop_relapse=1.0)
    paused = await cell.redrive(Given(limits=slowly, stopping=lambda: len(cell.sent()) >= 60))
    await cell.work()
    cell.deploy_old_code()
    good(cell, "E-after", 1, **NEW)
    await cell.work(1)
    cell.deploy_new_code()
    entry = cell.audit().runs[paused.run.name]

    resumed = await cell.redrive(run=entry)

    assert (paused.run.step, paused.told) == (Step.PAUSED, None)
    assert entry == paused.run
    assert 60 <= sum(entry.positions.values()) == entry.result["handled"] + entry.result["pending"] < 100
    assert resumed.run.step is Step.FINISHED
    assert resumed.run.result == resumed.run.prediction == {"stored": 200}
    assert resumed.told is not None and resumed.told.differences == ()
    assert len(origins(cell)) == len(set(origins(cell))) == 200
    after = [
        letter
        for letter in cell.dead()
        if isinstance(letter, DeadLetter) and b"E-after" in (letter.record.value or b"")
    ]
    assert after[0].record.at not in origins(cell)


async def test_a_run_killed_between_two_records_goes_on_without_sending_any_twice() -> None:
    """The newest audit entry may be old: the redrive topic itself says what was sent."""
    cell = await dead_cell(200)
    cell.sink.awake = True

    def die(records: Sequence[OutRecord]) -> None:
        if len(cell.sent()) >= 100 and records[0].topic == CATALOGUE.redrive_topic("sink"):
            raise asyncio.CancelledError

    cell.log.before_publish = die
    with pytest.raises(asyncio.CancelledError):
        await cell.redrive(Given(limits=Limits(per_second=40, stop_relapse=1.0)))
    cell.log.before_publish = lambda records: None
    (entry,) = cell.audit().runs.values()
    sent = len(cell.sent())

    resumed = await cell.redrive(run=entry)

    assert entry.step in (Step.STARTED, Step.SENDING)
    assert sum(entry.positions.values()) < sent < 200
    assert resumed.run.result == resumed.run.prediction == {"stored": 200}
    assert len(origins(cell)) == len(set(origins(cell))) == 200


async def test_what_was_passed_over_counts_once_across_a_pause() -> None:
    """Those handled already and those guarded are neither lost nor doubled in the count of a resumed run."""
    cell = await dead_cell(100)
    await cell.redrive(Given(limit=30))
    paused = await cell.redrive(Given(stopping=lambda: len(cell.sent()) >= 60))

    resumed = await cell.redrive(run=cell.audit().runs[paused.run.name])

    assert paused.run.prediction == {"already_handled": 30, "stored": 70}
    assert resumed.run.prediction == resumed.run.result == {"already_handled": 30, "stored": 70}


async def test_a_copy_still_under_way_decides_what_a_resumed_run_predicts() -> None:
    """The first copy was sent before the pause and is not stored yet: the second will be the duplicate."""
    cell = MemoryCell()
    cell.deploy_old_code()
    for number in range(40):
        good(cell, f"E-{number}", 3 * number, **NEW)
    for number in range(40):
        good(cell, f"E-{number}", 3 * number, **NEW)
    await cell.work(1)
    cell.deploy_new_code()
    cell.sink.awake = False
    paused = await cell.redrive(Given(limits=Limits(1e6, 1.0, patience_seconds=5)))
    entry = cell.audit().runs[paused.run.name]
    cell.deploy_new_code()

    cell.sink.awake = True
    resumed = await cell.redrive(run=entry)

    assert len(cell.sent()) == 80
    assert resumed.told is not None and resumed.told.differences == ()
    assert resumed.run.prediction == {"stored": 40, "duplicate": 40}


async def test_a_broker_that_comes_back_is_waited_for() -> None:
    """Nothing is lost between two tries, nothing is counted twice."""
    cell = await dead_cell(50)
    away = [PublishFailedError("away", retriable=True) for _ in range(3)]
    cell.log.before_publish = lambda records: (
        cell.log.failures.append(away.pop()) if away and "redrive" in records[0].topic else None
    )

    ending = await cell.redrive()

    assert away == []
    assert ending.run.result == {"stored": 50}


async def test_a_refusal_of_the_broker_pauses_the_run_with_its_reason() -> None:
    """Trying again would not help; the run can go on once somebody has seen to it."""
    cell = await dead_cell(50)
    refusals = [PublishFailedError("not authorised", retriable=False)]
    cell.log.before_publish = lambda records: (
        cell.log.failures.append(refusals.pop()) if refusals and "redrive" in records[0].topic else None
    )

    ending = await cell.redrive()
    resumed = await cell.redrive(run=cell.audit().runs[ending.run.name])

    assert (ending.run.step, ending.run.reason) == (Step.PAUSED, "not authorised")
    assert resumed.run.result == {"stored": 50}


async def test_the_audit_tells_who_did_what_and_how_it_stands() -> None:
    """Started before the first record is sent, progress every few seconds, and how it ended; ends as of the start."""
    cell = await dead_cell(100)
    first = list[str]()
    cell.log.before_publish = lambda records: first.append(records[0].topic)

    asked = Filter(code="invalid_event", since_us=1_000_000, until_us=cell.clock.us + 1)
    ending = await cell.redrive(Given(filter=asked, limit=90, limits=Limits(per_second=8, stop_relapse=1.0)))

    entries = [decode_audit(record.value or b"") for record in cell.log.records(CATALOGUE.audit_topic)]
    assert first[0] == CATALOGUE.audit_topic
    assert [entry.step for entry in entries] == ["started", "sending", "sending", "finished"]
    assert {(entry.run, entry.who, entry.action, entry.agent) for entry in entries} == {
        ("run-1", "jane@ops", "redrive", "sink")
    }
    assert entries[0].filter == {
        "code": "invalid_event", "since": "1970-01-01T00:00:01+00:00", "max-redrives": "3", "limit": "90",
        "until": entries[0].filter["until"],
    }  # fmt: skip
    assert all(entry.prediction == {"stored": 90} and entry.ends == entries[0].ends for entry in entries)
    assert 0 < sum(entries[1].positions.values()) < sum(entries[2].positions.values()) < 90
    assert entries[-1].result == {"stored": 90}
    assert cell.audit().runs == {"run-1": ending.run}


async def test_entries_of_other_commands_and_garbage_in_the_audit_do_not_hide_runs() -> None:
    """What cannot be read is counted."""
    cell = await dead_cell(5)
    ending = await cell.redrive()
    cell.log.append(OutRecord(CATALOGUE.audit_topic, b"x", b"garbage"))
    (entry, *_) = cell.log.records(CATALOGUE.audit_topic)
    other = (entry.value or b"").replace(b'"action":"redrive"', b'"action":"replay"').replace(b"run-1", b"run-2")
    cell.log.append(OutRecord(CATALOGUE.audit_topic, b"run-2", other))

    audit = cell.audit()

    assert audit.runs == {"run-1": ending.run}
    assert audit.unreadable == 1
