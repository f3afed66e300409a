"""The load of a proof: whatever gateways do, every receipt is in the file, and every event without one is named."""

import asyncio
import itertools
import json
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bems_streams.domain.event import Event, parse_event
from bems_streams.local.feed_types import FeedOptions, Offer
from bems_streams.local.prove.load import SENDING, Load, LoadPlan
from bems_streams.local.prove.load_books import (
    CONTROL,
    Books,
    Control,
    Counters,
    read_acknowledged,
    read_counters,
    read_poison,
    write_control,
)
from bems_streams.local.prove.load_source import LoadSource
from bems_streams.local.simulator import Kind
from bems_streams.ports import Appended, Coordinates, NotAppended, OutRecord
from bems_streams.topics import load_catalogue
from tests.unit.fake_gateway import Drop, FakeGateway, Reply, Request

QUICK = replace(SENDING, linger_seconds=0.01, backoff_seconds=0.01, longest_backoff_seconds=0.05, answer_seconds=0.5)
TOPICS = dict(load_catalogue().stage_topics)
DAY = 86_400.0


class FakeLog:
    """Takes bad records, save every fifth, which it does not answer for."""

    def __init__(self) -> None:
        self.records: list[OutRecord] = []

    async def append(self, records: Sequence[OutRecord]) -> Sequence[Appended | NotAppended]:
        first = len(self.records)
        self.records += records
        places = range(first, len(self.records))
        return [
            NotAppended("no broker", retriable=True)
            if place % 5 == 4
            else Appended(Coordinates(self.records[place].topic, 0, place), 1)
            for place in places
        ]


class Receipts:
    """A log behind the gateways: what is answered 202 is in `held`, by its coordinates."""

    def __init__(self, trouble: Callable[[Request], Reply | Drop | None] = lambda request: None) -> None:
        self.held: dict[tuple[str, int, int], str] = {}
        self._trouble = trouble

    def __call__(self, request: Request) -> Reply | Drop | None:
        trouble = self._trouble(request)
        if trouble is not None:
            return trouble
        items: list[dict[str, Any]] = []
        for raw in request.raws:
            event = parse_event(raw)
            if isinstance(event, Event):
                at = (TOPICS[request.stage], 3, len(self.held))
                self.held[at] = event.event_id
                items.append({"status": 202, "topic": at[0], "partition": 3, "offset": at[2], "accepted_at": "T"})
            else:
                items.append({"status": 400, "title": "not acceptable"})
        if request.bare:
            return Reply(items[0]["status"], items[0])
        statuses = {item["status"] for item in items}
        return Reply(statuses.pop() if len(statuses) == 1 else 207, {"items": items})

    @property
    def rows(self) -> dict[tuple[str, int, int], str]:
        """A copy that the gateway's thread does not change."""
        return dict(self.held)


class Running:
    """A load under way."""

    def __init__(self, folder: Path, gateways: Sequence[str], rate: float = 2000) -> None:
        self.folder = folder
        self.stop = asyncio.Event()
        self.log = FakeLog()
        self._plan = LoadPlan(gateways, rate, 7, DAY, TOPICS, folder)

    async def run(self, options: FeedOptions = QUICK) -> str | None:
        with Books(self.folder) as books:
            return await Load(self._plan, books, self.log).run(self.stop, options)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - the other side is a thread
                await asyncio.sleep(0.005)

    @property
    def counters(self) -> Counters:
        counters = read_counters(self.folder)
        assert counters is not None
        return counters

    @property
    def acknowledged(self) -> list[tuple[tuple[str, int, int], str]]:
        return [((line.topic, line.partition, line.offset), line.event_id) for line in read_acknowledged(self.folder)]

    @property
    def unacknowledged(self) -> list[str]:
        lines = (self.folder / "unacknowledged.jsonl").read_text().splitlines()
        return [json.loads(line)["event_id"] for line in lines]


async def load_until(running: Running, condition: Callable[[], object]) -> None:
    """Run it until the condition holds, then end it in order."""
    loading = asyncio.create_task(running.run())
    await running.until(condition)
    running.stop.set()
    async with asyncio.timeout(20):
        await loading


async def test_every_receipt_is_in_the_file_and_counted(tmp_path: Path) -> None:
    """What gateways took, and nothing else, is in the file, each with its coordinates; singles and batches alike."""
    receipts = Receipts()
    with FakeGateway(receipts) as one, FakeGateway(receipts) as other:
        running = Running(tmp_path, [one.url, other.url])
        await load_until(running, lambda: len(receipts.rows) > 500)
        requests = one.requests + other.requests
    assert dict(running.acknowledged) == receipts.rows
    counters = running.counters
    assert (counters.done, counters.acknowledged, counters.unacknowledged) == (True, len(receipts.rows), 0)
    assert counters.sent == counters.acknowledged + counters.rejected
    assert {request.bare for request in requests} == {True, False}


@pytest.mark.parametrize(
    "trouble",
    [Reply(503, headers={"retry-after": "0"}), Reply(429, headers={"retry-after": "0"}), Drop()],
    ids=["503", "429", "dropped connection"],
)
async def test_what_is_turned_away_is_sent_again_under_its_own_id(tmp_path: Path, trouble: Reply | Drop) -> None:
    """Every other request fails: all events end with a receipt, in the file as often as in the log."""
    turns = itertools.count()
    receipts = Receipts(lambda request: trouble if next(turns) % 2 else None)
    with FakeGateway(receipts) as gateway:
        running = Running(tmp_path, [gateway.url])
        await load_until(running, lambda: len(receipts.rows) > 300 and running.counters.retried > 3)
        held = receipts.rows
    assert dict(running.acknowledged) == held
    counters = running.counters
    assert counters.sent == counters.acknowledged + counters.rejected + counters.unacknowledged
    assert 0 <= counters.unacknowledged - len(running.unacknowledged) <= 5  # those made to be refused are not listed
    assert (counters.refused_503 > 0) == (isinstance(trouble, Reply) and trouble.status == 503)


async def test_an_answer_that_gets_lost_leaves_no_receipt_for_the_first_copy(tmp_path: Path) -> None:
    """Taken, but the connection broke: the log holds two copies, the file has a receipt for one of them."""
    lost: list[bytes] = []
    receipts = Receipts()

    def policy(request: Request) -> Reply | Drop | None:
        answer = receipts(request)
        if len(lost) < 20 and not request.bare:
            lost.extend(request.raws)
            return Drop()
        return answer

    with FakeGateway(policy) as gateway:
        running = Running(tmp_path, [gateway.url])
        await load_until(running, lambda: len(receipts.rows) > 400)
    held = receipts.rows
    acknowledged = running.acknowledged
    assert all(held[at] == event_id for at, event_id in acknowledged)
    assert len(held) - len(acknowledged) == sum(isinstance(parse_event(raw), Event) for raw in lost)
    assert set(held.values()) == {event_id for _, event_id in acknowledged}


async def test_a_stop_while_no_gateway_answers_names_every_event_without_a_receipt(tmp_path: Path) -> None:
    """Connection refused from the start: nothing is acknowledged, all that was taken up is listed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    running = Running(tmp_path, [url])
    await load_until(running, lambda: (tmp_path / "load.json").exists() and running.counters.waiting)
    counters = running.counters
    assert running.acknowledged == []
    assert (counters.acknowledged, counters.rejected, counters.done) == (0, 0, True)
    assert 0 < len(running.unacknowledged) <= counters.unacknowledged == counters.sent


async def test_a_gateway_that_hangs_holds_up_its_own_requests_only(tmp_path: Path) -> None:
    """One of two takes connections and never answers: the load goes on through the other, and loses no receipt."""
    receipts = Receipts()
    with socket.create_server(("127.0.0.1", 0)) as frozen, FakeGateway(receipts) as gateway:
        running = Running(tmp_path, [f"http://127.0.0.1:{frozen.getsockname()[1]}", gateway.url])
        await load_until(running, lambda: len(receipts.rows) > 500 and running.counters.retried > 0)
    assert dict(running.acknowledged) == receipts.rows


async def test_what_is_no_gateway_ends_the_load_with_a_reason(tmp_path: Path) -> None:
    """Without being told to stop: the counters and the caller hear why, and what was sent is listed."""
    with FakeGateway(lambda request: Reply(404, {"hello": "world"})) as stranger:
        running = Running(tmp_path, [stranger.url])
        async with asyncio.timeout(20):
            ended = await running.run()
    assert "check the address" in (ended or "")
    assert (running.counters.error, running.counters.done) == (ended, True)
    assert running.unacknowledged


async def test_bursts_are_obeyed_once_and_acknowledged(tmp_path: Path) -> None:
    """A control file asks for bad records, copies and disorder: the counters say when it is done."""
    receipts = Receipts()
    with FakeGateway(receipts) as gateway:
        running = Running(tmp_path, [gateway.url])
        loading = asyncio.create_task(running.run())
        await running.until(lambda: len(receipts.rows) > 100)
        asked = Control("burst-1", poison=25, duplicates=200, reorder=100)
        write_control(tmp_path, asked)
        await running.until(lambda: running.counters.control == asked)
        write_control(tmp_path, Control("burst-2", poison=5))
        await running.until(lambda: running.counters.controls == 2)
        await running.until(
            lambda: running.counters.duplicates >= 200 <= len(receipts.rows) and running.counters.reordered >= 100
        )
        running.stop.set()
        await loading
    counters = running.counters
    assert (counters.poison, counters.poison_unproven, len(running.log.records)) == (24, 6, 30)
    assert [at.offset for at in read_poison(tmp_path)] == [n for n in range(30) if n % 5 != 4]
    assert len({record.key for record in running.log.records} - {None, b"another-invoice"}) > 20
    copies = Counter(receipts.rows.values())
    assert sum(copies.values()) - len(copies) >= 190


async def test_a_control_file_that_makes_no_sense_is_named_and_does_nothing(tmp_path: Path) -> None:
    """The error says which file and what to write; a good file after it is obeyed."""
    with FakeGateway(Receipts()) as gateway:
        running = Running(tmp_path, [gateway.url], rate=50)
        (tmp_path / CONTROL).write_text('{"poisson": 3}')
        loading = asyncio.create_task(running.run())
        await running.until(lambda: (tmp_path / "load.json").exists() and running.counters.error)
        assert "load-control.json" in (running.counters.error or "")
        write_control(tmp_path, Control("again", poison=1))
        await running.until(lambda: running.counters.poison == 1)
        running.stop.set()
        await loading
    assert running.counters.error is None


def test_the_same_seed_sends_the_same_events_and_another_seed_others() -> None:
    """So that a failed proof can be run again."""
    first, again, other = (take(LoadSource(seed, 100, DAY), 500) for seed in (3, 3, 4))
    assert first == again
    assert not {offer.raw for offer in first} & {offer.raw for offer in other}


def test_the_load_never_ends_and_never_repeats_an_invoice() -> None:
    """When one generation of invoices is done, another comes; some are left unfinished, some events come twice."""
    source = LoadSource(3, 20, DAY)
    offers = take(source, 3000)
    events = [event for offer in offers if isinstance(event := parse_event(offer.raw), Event)]
    generations = {event.invoice_id.split("-")[1] for event in events}
    assert len(generations) >= 5
    last = {event.invoice_id: event.stage for event in events}
    assert sum(stage != "posting" for stage in last.values()) > 3
    assert source.duplicates == sum(offer.tag is Kind.DUPLICATE for offer in offers) > 30
    ids = Counter((event.invoice_id, event.event_id) for event in events)
    assert sum(ids.values()) - len(ids) == source.duplicates


def take(source: LoadSource, events: int) -> list[Offer]:
    """The first so many."""
    return list(itertools.islice(source.offers(), events))


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    """It was never counted, so the file without it is what was acknowledged."""
    good = b'{"event_id":"e","invoice_id":"i","topic":"t","partition":1,"offset":2,"accepted_at":"T"}\n'
    (tmp_path / "acknowledged.jsonl").write_bytes(good + good[:30])
    assert [line.offset for line in read_acknowledged(tmp_path)] == [2]
