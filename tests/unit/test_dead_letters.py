"""Dead letters as they are read, filtered and counted, whatever else lies in their topics."""

import pytest

from bems_streams.flows.dead_letters import DeadLetter, Filter, Letter, Since, Unreadable, overview
from bems_streams.ports import Extent, OutRecord
from tests.unit.redrive_kit import CATALOGUE, Given, MemoryCell
from tests.unit.test_redrive import NEW, dead_cell, good

SINK_DLQ = CATALOGUE.dead_letter_topic("invoices.posting", "sink")


def everything(cell: MemoryCell) -> list[Letter]:
    """All dead letters of all agents."""
    return [*cell.letters.read(cell.letters.extents())]


async def test_a_dead_letter_tells_all_that_is_known_of_its_record() -> None:
    """Original bytes, key, headers, place and time; agent, code, reason, attempts, trace id."""
    cell = MemoryCell()
    headers = [("correlation-id", b"trace-7"), ("bems-origin-topic", b"forged")]
    at = cell.accept(b"{", "posting", b"INV-1", 2, headers)
    accepted_us = cell.clock.us
    await cell.work(5)

    letter = cell.dead_at(at)

    assert (letter.record.at, letter.record.key, letter.record.value) == (at, b"INV-1", b"{")
    assert (list(letter.record.headers), letter.record.accepted_us) == (headers, accepted_us)
    assert (letter.agent, letter.stage, letter.code, letter.passage.attempts) == ("sink", "posting", "not_json", 1)
    assert letter.reason.startswith("not valid JSON")
    assert (letter.invoice_id, letter.trace_id, letter.failed_us) == ("INV-1", "trace-7", cell.clock.us)
    assert letter.at.topic == SINK_DLQ


@pytest.mark.parametrize(
    "garbage",
    [
        OutRecord(SINK_DLQ, None, None, (), 0),
        OutRecord(SINK_DLQ, b"\xff", b"\x00\xff", [("bems-origin-topic", b"\xff")], 0),
        OutRecord(SINK_DLQ, b"k", b"{}", [("bems-origin-topic", b"invoices.posting"), ("bems-attempts", b"many")], 0),
    ],
)
async def test_what_no_agent_wrote_is_unreadable_and_keeps_its_bytes(garbage: OutRecord) -> None:
    """It stops nobody from reading what comes after."""
    cell = await dead_cell(2)
    at = cell.log.append(garbage)

    (found,) = [letter for letter in everything(cell) if isinstance(letter, Unreadable)]

    assert (found.at, found.agent, found.code) == (at, "sink", "bad_envelope")
    assert (found.raw.key, found.raw.value, list(found.raw.headers)) == (garbage.key, garbage.value, [*garbage.headers])
    assert "bems-" in found.reason
    assert len(everything(cell)) == 5


async def test_filters_take_what_they_name_and_nothing_else() -> None:
    """Agent, code, stage, invoice, and the time of the failure: from, inclusive, to, exclusive."""
    cell = MemoryCell()
    cell.accept(b"{", "posting", b"INV-1", 0)
    await cell.work(1)
    first_us = cell.clock.us
    cell.accept(b"", "ingestion", b"INV-2", 1)
    good(cell, "E-9", 3, "posting", occurred_us=cell.clock.us + 10**15)
    await cell.exhaust_lanes()
    cell.log.append(OutRecord(SINK_DLQ, b"INV-1", b"?", (), 0))

    def taken(**asked: object) -> int:
        return sum(Filter(**asked).takes(letter) for letter in everything(cell))  # type: ignore[arg-type]

    assert taken() == 7
    assert (taken(agent="sink"), taken(agent="tracker")) == (4, 3)
    assert (taken(code="not_json"), taken(code="future_dated"), taken(code="bad_envelope")) == (4, 2, 1)
    assert (taken(stage="posting"), taken(stage="ingestion")) == (4, 2)
    assert (taken(invoice="INV-1"), taken(invoice="INV-3")) == (2, 2)
    assert (taken(since_us=first_us), taken(since_us=first_us + 1)) == (7, 5)
    assert (taken(until_us=first_us), taken(until_us=first_us + 1)) == (0, 2)
    assert taken(agent="sink", code="not_json", stage="posting", invoice="INV-1", until_us=first_us + 1) == 1


async def test_the_overview_counts_all_and_keeps_the_newest() -> None:
    """However many there are, memory is for those that are shown."""
    cell = await dead_cell(40)
    cell.accept(b"{", "posting", b"INV-1", 0)
    await cell.work(60)
    cell.log.append(OutRecord(SINK_DLQ, b"k", b"?", (), 0))

    found = overview(everything(cell), 3, lambda letter: letter.agent == "sink")

    assert found.counts == {
        ("sink", "ingestion", "invalid_event"): 40,
        ("sink", "posting", "not_json"): 1,
        ("sink", None, "bad_envelope"): 1,
    }
    assert found.total == 42
    assert [letter.code for letter in found.newest][:2] in (["bad_envelope", "not_json"], ["not_json", "bad_envelope"])
    assert len(found.newest) == 3


async def test_what_was_handled_since_is_told_from_what_is_open() -> None:
    """By rows for the agent that writes the store, by the ledger for the others; never while the ledger is behind."""
    cell = await dead_cell(3)
    letters = {agent: cell.dead(agent) for agent in ("sink", "tracker")}

    def handled() -> dict[str, list[bool]]:
        since = Since(cell.reader)
        return {agent: [since.handled(letter) for letter in found] for agent, found in letters.items()}

    before = handled()
    await cell.redrive()
    after_sink = handled()
    await cell.work()
    after_work = handled()
    await cell.redrive(Given(agent="tracker"))
    await cell.work()

    assert before == {"sink": [False] * 3, "tracker": [False] * 3}
    assert after_sink == after_work == {"sink": [True] * 3, "tracker": [False] * 3}
    assert handled() == {"sink": [True] * 3, "tracker": [True] * 3}


async def test_while_the_ledger_is_behind_a_dead_letter_counts_as_open() -> None:
    """No row of the tracker's is no proof before the sink has read the tracker's account."""
    cell = MemoryCell()
    cell.sink.awake = False
    cell.deploy_old_code()
    good(cell, "E-1", 1, **NEW)
    await cell.work(1)

    assert [Since(cell.reader).handled(letter) for letter in cell.dead("tracker")] == [False]


async def test_places_go_by_agent_and_by_the_topic_that_was_read() -> None:
    """So that a receipt leads to the one partition of each agent that can hold its dead letter."""
    cell = await dead_cell(1)

    (letter,) = cell.dead("tracker")
    places = cell.letters.places("tracker", "invoices.ingestion")

    assert isinstance(letter, DeadLetter)
    assert (letter.at.topic, letter.at.partition) in places
    assert len(places) == CATALOGUE.partitions
    assert cell.letters.places(None, "payments") == []
    assert [*cell.letters.read({place: Extent(0, 0) for place in places})] == []
