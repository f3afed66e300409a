"""Receipts over HTTP: every standing, every way not to have one, and events are not held up."""

import asyncio
import threading
from typing import Any

import pytest

from bems_streams.flows.resolve import Away, Resolution
from bems_streams.gateway.lookup import THREADS, WAITING
from bems_streams.ports import StoreBatch
from tests.contract.rows import event as event_row
from tests.contract.rows import retry
from tests.unit.gateway_kit import STAGE_TOPICS, Bench, Reply, encoded, event, is_problem, until
from tests.unit.receipt_kit import TOPIC, FakeLog, receipts, store_of, text


async def get(bench: Bench, receipt: str, **options: Any) -> Reply:
    """GET /v1/receipts/…"""
    return await bench.send(method="GET", path=f"/v1/receipts/{receipt}", headers={}, **options)


def bench_over(log: FakeLog, *batches: StoreBatch) -> Bench:
    """A gateway over a store that took these."""
    return Bench(resolve=receipts(store_of(*batches), log).resolve)


async def test_a_stored_event_is_told_with_its_times() -> None:
    """RFC 3339; what does not apply is left out."""
    reply = await get(bench_over(FakeLog(away="x"), StoreBatch(events=[event_row("e-1", 5)])), text(5))

    assert reply.status == 200
    assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("application/json", "no-store")
    assert reply.json == {
        "receipt": "cell-7/invoices.ingestion/0/5",
        "state": "stored",
        "detail": "stored 20 ms after its acceptance",
        "accepted_at": "2023-11-14T22:13:20Z",
        "stored_at": "2023-11-14T22:13:20.020000Z",
        "invoice_id": "INV-1",
        "event_id": "e-1",
    }


async def test_a_duplicate_and_a_record_in_a_lane_are_told_in_full() -> None:
    """The receipt that counts; the agent, its reason and its next try."""
    batch = StoreBatch(events=[event_row("e-1", 5), event_row("e-1", 6)], retrying=[retry(7)])
    bench = bench_over(FakeLog(away="x"), batch)

    duplicate, waiting = await get(bench, text(6)), await get(bench, text(7))

    assert duplicate.json["state"] == "duplicate"
    assert duplicate.json["duplicate_of"]["receipt"] == text(5)
    assert waiting.json["state"] == "retrying"
    assert waiting.json["agents"] == [
        {
            "agent": "sink",
            "state": "retrying",
            "code": "store_refused",
            "reason": "no",
            "noted_at": "2023-11-14T22:13:20.030000Z",
            "attempts": 1,
            "next_try_at": "2023-11-14T22:13:25Z",
        }
    ]


async def test_the_receipt_of_a_202_can_be_followed_as_it_was_given() -> None:
    """Before any store exists: accepted, never 404."""
    bench = bench_over(FakeLog(end=1))
    given = (await bench.send(encoded(event()))).json["receipt"]

    reply = await get(bench, given)

    assert (reply.status, reply.json["state"], reply.json["receipt"]) == (200, "accepted", given)


@pytest.mark.parametrize(
    ("receipt", "status", "kind", "said"),
    [
        ("", 400, "invalid-receipt", "cell/topic/partition/offset"),
        ("cell-7", 400, "invalid-receipt", "cell/topic/partition/offset"),
        (text(5), 404, "unknown-receipt", "ends before offset 5"),
        (text(0, topic="orders"), 404, "unknown-receipt", "'orders'"),
        (text(0, cell="eu-2"), 404, "other-cell", "ask a gateway of cell 'eu-2'"),
    ],
)
async def test_what_does_not_resolve_is_a_problem_that_says_why(
    receipt: str, status: int, kind: str, said: str
) -> None:
    """RFC 9457, like every other answer of the gateway."""
    reply = await get(bench_over(FakeLog(end=5)), receipt)

    assert is_problem(reply, status, kind)
    assert said in reply.json["detail"]


async def test_store_or_log_away_is_503_and_says_when_to_ask_again() -> None:
    """The event is not in doubt, and the answer says so."""
    reply = await get(Bench(resolve=lambda _: Away("the store cannot be asked: its disk is gone")), text(5))

    assert is_problem(reply, 503, "unresolved")
    assert reply.json["detail"].startswith("the store cannot be asked: its disk is gone; ")
    assert reply.headers["retry-after"] == "2"


async def test_a_mistake_of_ours_is_500_and_the_next_receipt_is_looked_up() -> None:
    """Nobody sees a traceback; the log has it."""

    def resolve(receipt: str) -> Resolution:
        raise ValueError(receipt)

    bench = Bench(resolve=resolve)

    assert is_problem(await get(bench, text(5)), 500, "internal")
    assert is_problem(await get(bench, text(6)), 500, "internal")


async def test_another_method_is_told_which_ones_there_are() -> None:
    """Receipts are read only."""
    reply = await Bench().send(method="DELETE", path=f"/v1/receipts/{text(5)}")

    assert is_problem(reply, 405, "method-not-allowed")
    assert reply.headers["allow"] == "GET, HEAD"


async def test_a_stage_may_be_called_receipts() -> None:
    """Its events go in; its name is no reason to lose them."""
    bench = Bench(stage_topics={**STAGE_TOPICS, "receipts": "invoices.receipts"})

    taken = await bench.send(encoded(event(stage="receipts")), path="/v1/receipts/events")

    assert taken.status == 202
    assert (await get(bench, text(0))).json["type"] == "/docs#unknown-receipt"


class Gate:
    """A resolver that waits until it may go on, as one does whose broker hangs."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = 0

    def resolve(self, receipt: str) -> Resolution:
        self.begun += 1
        assert self.open.wait(30)
        return Away("released")


@pytest.fixture
def gate() -> Any:
    """Opened in the end, whatever the test found, so that its threads end."""
    gate = Gate()
    yield gate
    gate.open.set()


async def test_lookups_that_hang_are_answered_in_time(gate: Gate) -> None:
    """By 503; the thread ends by itself later."""
    reply = await get(Bench(resolve=gate.resolve, answer_seconds=0.05), text(5))

    assert is_problem(reply, 503, "unresolved")
    assert "not told within 0.05 s" in reply.json["detail"]


async def test_lookups_that_hang_hold_up_no_event(gate: Gate) -> None:
    """They have threads of their own, and the event loop goes on."""
    bench = Bench(resolve=gate.resolve)
    hanging = [asyncio.create_task(get(bench, text(offset))) for offset in range(THREADS * 3)]
    await until(lambda: gate.begun == THREADS)

    taken = [await bench.send(encoded(event(number))) for number in range(20)]

    assert {reply.status for reply in taken} == {202}
    gate.open.set()
    assert {reply.status for reply in await asyncio.gather(*hanging)} == {503}
    assert gate.begun == len(hanging)


async def test_too_many_lookups_at_once_are_told_to_come_back(gate: Gate) -> None:
    """And are taken again once there is room: also after timeouts, when nobody waits for the answers any more."""
    bench = Bench(resolve=gate.resolve, answer_seconds=0.05)
    given_up = await asyncio.gather(*(get(bench, text(offset)) for offset in range(WAITING)))
    assert {reply.json["type"] for reply in given_up} == {"/docs#unresolved"}

    refused = await get(bench, text(0))

    assert is_problem(refused, 429, "busy")
    assert refused.headers["retry-after"] == "1"
    gate.open.set()
    await until(lambda: gate.begun == WAITING)
    assert await eventually_taken(bench)


async def eventually_taken(bench: Bench) -> bool:
    """Whether a receipt is looked up again before long."""
    for _ in range(1000):
        if (await get(bench, text(0))).status != 429:
            return True
        await asyncio.sleep(0)
    return False


async def test_a_closed_lookup_starts_nothing_more(gate: Gate) -> None:
    """A gateway that stops does not wait for what hangs, and asks nobody new."""
    bench = Bench(resolve=gate.resolve, answer_seconds=0.05)
    hanging = [asyncio.create_task(get(bench, text(offset))) for offset in range(THREADS + 1)]
    await until(lambda: gate.begun == THREADS)

    bench.lookup.close()

    gate.open.set()
    assert {reply.status for reply in await asyncio.gather(*hanging)} == {503}
    assert gate.begun == THREADS


async def test_percent_encoded_slashes_are_the_same_receipt() -> None:
    """The server decodes the path before the application sees it; test_receipts.py asks a real one."""
    seen: list[str] = []

    def resolve(receipt: str) -> Resolution:
        seen.append(receipt)
        return Away("noted")

    await get(Bench(resolve=resolve), f"cell/with/slashes/{TOPIC}/0/5")

    assert seen == [f"cell/with/slashes/{TOPIC}/0/5"]
