"""Dead letters sent again: what was predicted comes true, and nothing is done twice."""

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.adapters.stores import default_store_url
from bems_streams.domain.failures import Failure, InvalidEvent, Problem, StoreRefused
from bems_streams.flows.dead_letters import DeadLetter, Filter
from bems_streams.flows.envelope import disclose, enclose
from bems_streams.flows.redrive.audit import Step
from bems_streams.flows.redrive.terms import Verdict
from bems_streams.flows.store import Store
from bems_streams.flows.track import Track, Tracked
from bems_streams.ports import Coordinates, OutRecord, RawRecord
from tests.unit.flow_kit import SECOND_US, START_US, payload
from tests.unit.redrive_kit import CATALOGUE, PARTITIONS, Given, MemoryCell

DAY_US: Final = 86_400 * SECOND_US
NEW: Final[dict[str, Any]] = {"attributes": {"new": "1"}}
STAGES: Final = tuple(CATALOGUE.stage_topics)
REFUSED: Final = StoreRefused((Problem("", "no room for this one"),))


def good(cell: MemoryCell, event_id: str, invoice: int, stage: str = "ingestion", **more: Any) -> Coordinates:
    """An event that today's code takes; with NEW, yesterday's does not."""
    name = f"INV-{invoice}"
    value = payload(event_id, name, stage, **more)
    return cell.accept(value, stage, name.encode(), invoice % PARTITIONS)


async def dead_cell(count: int = 60) -> MemoryCell:
    """So many dead letters of the sink and of the tracker, all of which today's code takes."""
    cell = MemoryCell()
    cell.deploy_old_code()
    for number in range(count):
        good(cell, f"E-{number}", number, **NEW)
    await cell.work(1)
    cell.deploy_new_code()
    return cell


def send_often(cell: MemoryCell, origins: Collection[Coordinates], redrives: int, agent: str = "sink") -> None:
    """As if these records had been redriven so often, and had died each time."""
    for letter in cell.dead(agent):
        if isinstance(letter, DeadLetter) and letter.record.at in origins:
            passage = letter.passage._replace(redrives=redrives, run="earlier")
            cell.log.append(enclose(letter.record, passage, letter.at.topic))


async def mixed_cell(rng: random.Random, count: int, store_url: str | None = None) -> MemoryCell:
    """Dead letters of every kind, in a random order of events, stages and partitions."""
    cell = MemoryCell(store_url)
    cell.deploy_old_code()
    refused: set[str] = set()

    def why(event_id: str) -> Failure | None:
        return REFUSED if event_id in refused else None

    cell.store.why = why
    guarded = set()
    for number in range(count):
        stage, invoice, event_id = rng.choice(STAGES), rng.randrange(count // 3), f"E-{number}"
        kind = rng.choice(["mended"] * 4 + ["poison", "copies", "stored", "soon", "never", "refused", "guarded"])
        if kind == "poison":
            value = rng.choice(
                [b"", b"{", b"[]", payload(event_id, "INV-0", "nowhere"), payload(event_id, "INV-0", stage)]
            )
            cell.accept(value, stage, b"INV-1", rng.randrange(PARTITIONS))
        elif kind == "soon":
            good(cell, event_id, invoice, stage, occurred_us=START_US + 2 * DAY_US)
        elif kind == "never":
            good(cell, event_id, invoice, stage, occurred_us=START_US + 900 * DAY_US)
        elif kind == "refused":
            refused.add(event_id)
            good(cell, event_id, invoice, stage)
        else:
            at = good(cell, event_id, invoice, stage, **NEW)
            if kind == "copies":
                good(cell, event_id, invoice, rng.choice(STAGES), **NEW)
            elif kind == "stored":
                good(cell, event_id, invoice, stage)
            elif kind == "guarded":
                guarded.add(at)
        if rng.random() < 0.01:
            await cell.work(1)
    await cell.exhaust_lanes()
    for agent in ("sink", "tracker"):
        send_often(cell, guarded, 3, agent)
        topic = f"invoices.posting.{agent}.dlq"
        cell.log.append(OutRecord(topic, b"k", b"\xff\x00", [("bems-origin-topic", b"invoices.posting")], 0))
    refused.clear()
    cell.deploy_new_code()
    cell.clock.us += 2 * DAY_US
    return cell


@pytest.mark.parametrize("agent", ["sink", "tracker"])
async def test_the_prediction_comes_true_on_ten_thousand_mixed_dead_letters(agent: str, tmp_path: Path) -> None:
    """Mended, poison, copies, stored meanwhile, due now, refused before, sent too often, garbage: all as predicted."""
    cell = await mixed_cell(random.Random(7), 9_500, default_store_url(tmp_path))
    waiting = cell.dead(agent)
    origins = {letter.record.at for letter in waiting if isinstance(letter, DeadLetter)}
    earlier = await cell.redrive(Given(agent=agent, filter=Filter(stage="posting", code="invalid_event"), limit=300))

    ending = await cell.redrive(Given(agent=agent))

    assert len(waiting) > 10_000
    assert sum(not isinstance(letter, DeadLetter) for letter in waiting) == 1
    assert ending.told is not None and earlier.told is not None
    assert (ending.run.step, ending.told.differences, earlier.told.differences) == (Step.FINISHED, (), ())
    assert ending.told.result == ending.told.predicted
    counts = ending.run.prediction
    assert all(counts[verdict] > 100 for verdict in ("stored", "duplicate", "still_failing", "guarded")), counts
    assert counts["already_handled"] == earlier.told.result[Verdict.STORED] + earlier.told.result[Verdict.DUPLICATE]
    assert sum(counts.values()) == len(origins)
    cell.close()


@pytest.mark.parametrize("agent", ["sink", "tracker"])
@pytest.mark.parametrize("seed", range(3))
async def test_the_prediction_comes_true_on_a_few_hundred(agent: str, seed: int) -> None:
    """The same at a size that runs often, with other dice."""
    cell = await mixed_cell(random.Random(seed), 250)

    ending = await cell.redrive(Given(agent=agent))

    assert ending.told is not None
    assert (ending.told.differences, ending.told.result) == ((), ending.told.predicted)
    assert set(ending.told.result) == {Verdict.STORED, Verdict.DUPLICATE, Verdict.STILL_FAILING}


async def test_what_fails_in_another_run_is_not_held_against_this_one() -> None:
    """Two operators at once: each hears of what became of their own records."""
    cell = await dead_cell(30)

    def fail_elsewhere(records: Sequence[OutRecord]) -> None:
        for record in records if records[0].topic == CATALOGUE.redrive_topic("sink") else ():
            disclosed = disclose(
                RawRecord(Coordinates(record.topic, 0, 0), record.key, record.value, record.headers, 0)
            )
            assert isinstance(disclosed, tuple)
            original, passage = disclosed
            topic = CATALOGUE.dead_letter_topic(original.at.topic, "sink")
            cell.log.append(enclose(original, passage._replace(run="another"), topic))

    cell.log.before_publish = fail_elsewhere

    ending = await cell.redrive()

    assert ending.run.result == {"stored": 30}


async def test_a_second_redrive_of_the_same_records_changes_nothing() -> None:
    """What was handled since is not sent; what still fails is sent again and fails again; the store stays as it was."""
    cell = await mixed_cell(random.Random(3), 300)
    first = await cell.redrive()
    events, counts = list(cell.reader.events()), cell.reader.counts()
    sent = len(cell.sent())

    second = await cell.redrive()

    assert first.told is not None and second.told is not None
    assert set(second.told.result) == {Verdict.STILL_FAILING}
    assert len(cell.sent()) - sent == first.told.result[Verdict.STILL_FAILING]
    handled = first.told.result[Verdict.STORED] + first.told.result[Verdict.DUPLICATE]
    assert second.run.prediction["already_handled"] == handled
    assert (list(cell.reader.events()), cell.reader.counts()) == (events, counts)


async def test_a_second_redrive_to_the_tracker_changes_nothing() -> None:
    """The ledger says what the tracker handled since."""
    cell = await dead_cell(30)
    await cell.redrive(Given(agent="tracker"))
    states = {key: bytes(value) for table in cell.tracker.table.states.values() for key, value in table.items()}
    await cell.work()

    second = await cell.redrive(Given(agent="tracker"))

    assert len(states) == 30
    assert second.run.prediction == {"already_handled": 30}
    assert len(cell.sent("tracker")) == 30
    assert {key: value for table in cell.tracker.table.states.values() for key, value in table.items()} == states


async def test_what_the_store_still_refuses_is_named() -> None:
    """Only the store knows that it refuses: the prediction is wrong for that record, and the run says for which."""
    cell = await dead_cell(30)
    cell.store.why = lambda event_id: REFUSED if event_id == "E-4" else None

    ending = await cell.redrive()

    assert ending.told is not None
    (difference,) = ending.told.differences
    assert (difference.invoice_id, difference.predicted, difference.result) == (
        "INV-4", Verdict.STORED, Verdict.STILL_FAILING,
    )  # fmt: skip
    assert difference.at == cell.dead_at(difference.at).record.at
    assert ending.run.result == {"stored": 29, "still_failing": 1}


async def test_a_record_that_vanishes_is_missing_not_handled() -> None:
    """An agent that commits without having stored a record is found out."""
    cell = await dead_cell(25)
    cell.sink.code = lambda parts: Store(replace(parts, store=MemoryBackend().open_store()))

    ending = await cell.redrive()

    assert ending.told is not None
    assert ending.told.result == {Verdict.MISSING: 25}
    assert len(ending.told.differences) == 25


async def test_a_tracker_that_commits_without_folding_is_found_out() -> None:
    """The states in the changelog are looked at, not only what the tracker says."""
    cell = await dead_cell(25)

    class Forgetful(Track):
        def decide(self, given: Sequence[Sequence[RawRecord]]) -> Tracked:
            decided = super().decide(given)
            return Tracked(offsets=decided.offsets)

    cell.tracker.code = Forgetful

    ending = await cell.redrive(Given(agent="tracker"))

    assert ending.told is not None
    assert ending.told.result == {Verdict.MISSING: 25}


async def test_the_newest_dead_letter_of_a_record_counts_and_each_record_is_sent_once() -> None:
    """One that died as a future event, was redriven and died of something else, goes by what it died of last."""
    cell = await dead_cell(10)
    cell.deploy_old_code()
    await cell.redrive()
    cell.deploy_new_code()
    sent = len(cell.sent())

    ending = await cell.redrive()

    assert ending.run.result == {"stored": 10}
    assert len(cell.sent()) == sent + 10
    passages = [disclosed[1] for record in cell.sent()[-10:] if not isinstance(disclosed := disclose(record), Failure)]
    assert {passage.attempts for passage in passages} == {0}
    assert (
        sorted(letter.passage.redrives for letter in cell.dead() if isinstance(letter, DeadLetter))
        == [0] * 10 + [1] * 10
    )


async def test_the_loop_guard_holds_back_what_was_sent_too_often() -> None:
    """A record that died three times after redrives is not sent a fourth time, unless the guard is raised."""
    cell = await dead_cell(5)
    cell.deploy_old_code()
    for _ in range(3):
        await cell.redrive()
    sent = len(cell.sent())

    held = await cell.redrive()
    raised = await cell.redrive(Given(max_redrives=4))

    assert sent == 15
    assert held.run.result == {"guarded": 5}
    assert raised.told is not None and raised.told.result == {Verdict.STILL_FAILING: 5}
    assert len(cell.sent()) == 20


async def test_two_copies_on_two_topics_are_predicted_in_the_order_in_which_they_are_sent() -> None:
    """Whatever order the log is read in: the first is stored, the second is the duplicate."""
    cell = MemoryCell()
    cell.deploy_old_code()
    for number in range(40):
        good(cell, f"E-{number}", number, "posting", **NEW)
        good(cell, f"E-{number}", number, "ingestion", **NEW)
    await cell.work(1)
    cell.deploy_new_code()

    ending = await cell.redrive()

    assert ending.run.result == {"stored": 40, "duplicate": 40}
    assert ending.told is not None and ending.told.differences == ()


async def test_what_no_agent_could_place_is_not_sent() -> None:
    """A dead letter with a foreign origin would be poison to whoever read it."""
    cell = await dead_cell(3)
    (one, *_) = [letter for letter in cell.dead() if isinstance(letter, DeadLetter)]
    for at in (Coordinates("payments", 0, 7), one.record.at._replace(partition=(one.at.partition + 1) % PARTITIONS)):
        foreign = enclose(one.record._replace(at=at), one.passage, one.at.topic)
        cell.log.append(foreign._replace(partition=one.at.partition))

    ending = await cell.redrive()

    assert ending.run.result == {"stored": 3, "unsendable": 2}


async def test_status_alerts_and_accounts_are_redriven_too() -> None:
    """What the sink could not read of other agents' topics goes its way, though no row has these coordinates."""
    cell = await dead_cell(1)
    statuses = cell.log.records(CATALOGUE.status_topic)
    await cell.redrive(Given(agent="tracker"))
    (status,) = cell.log.records(CATALOGUE.status_topic)
    arrival = cell.sink.lanes.arrival(status)
    broken = cell.sink.lanes.set_aside(arrival, InvalidEvent((Problem("", "as it was"),)), cell.clock.us)
    cell.log.append(broken.out)

    ending = await cell.redrive(Given(filter=Filter(code="invalid_event")))

    assert statuses == []
    assert ending.told is not None
    assert (ending.told.result, ending.told.differences) == ({Verdict.STORED: 2}, ())


async def test_a_plan_changes_nothing() -> None:
    """A dry run reads: no record is written anywhere, not even an audit entry."""
    cell = await dead_cell(50)
    before = {place: list(log) for place, log in cell.log.logs.items()}

    plan = cell.plan(cell.started(Given()))
    tracked = cell.plan(cell.started(Given(agent="tracker")))

    assert plan.counts == tracked.counts == {Verdict.STORED: 50}
    assert {place: log for place, log in cell.log.logs.items() if log} == {p: log for p, log in before.items() if log}
