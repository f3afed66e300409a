"""The load of the end-to-end benchmarks: valid journeys, offered at their times, every event accounted for."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from bems_streams.domain.event import Event, parse_event
from bems_streams.flows.accept import Many, split
from benchmarks.end_to_end_step import Behind, growth_per_second, steady
from benchmarks.journeys import EVENTS_PER_INVOICE, EVENTS_PER_REQUEST, STEPS, Journeys, gap_of
from benchmarks.open_loop import Offered, OpenLoop

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def events_of(request: bytes) -> list[Event]:
    """What a gateway finds in it."""
    head, _, body = request.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    parts = split(body)
    assert isinstance(parts, Many)
    events = [parse_event(bytes(raw)) for raw in parts.raws]
    assert all(isinstance(event, Event) and f"/v1/{event.stage}/events".encode() in head for event in events)
    return [event for event in events if isinstance(event, Event)]


def test_every_invoice_passes_all_stages_in_order() -> None:
    """Fourteen valid events each, as soon as it began within the run."""
    gap = 2
    journeys = Journeys(seed=1, run=7, gap=gap)
    turns = 3 * EVENTS_PER_INVOICE * gap
    seen = defaultdict(list)

    for number in range(turns * EVENTS_PER_INVOICE):
        for event in events_of(journeys.request(number)):
            seen[event.invoice_id].append((event.event_id, event.stage, event.occurred_us))

    whole = [events for events in seen.values() if len(events) == EVENTS_PER_INVOICE]
    assert len(whole) == (turns - (EVENTS_PER_INVOICE - 1) * gap) * EVENTS_PER_REQUEST
    for events in whole:
        assert [stage for _, stage, _ in events] == [step.stage for step in STEPS]
        assert [occurred_us for _, _, occurred_us in events] == sorted({occurred_us for _, _, occurred_us in events})
        assert len({event_id for event_id, _, _ in events}) == EVENTS_PER_INVOICE


def test_events_of_one_invoice_stand_apart() -> None:
    """So many rounds of fourteen requests, which is the time asked for at the rate asked for."""
    gap = gap_of(rate=14_000, seconds=0.5)
    journeys = Journeys(seed=1, run=7, gap=gap)

    places = defaultdict(list)
    for number in range(60 * EVENTS_PER_INVOICE):
        places[events_of(journeys.request(number))[0].invoice_id].append(number // EVENTS_PER_INVOICE)

    assert gap == 5
    assert {after - before for turns in places.values() for before, after in pairwise(turns)} == {5}


def test_runs_share_bytes_but_no_invoice() -> None:
    """A run is repeatable, and the next one on the same cell is no copy of it."""
    first, again, other = (Journeys(seed=1, run=run, gap=3).request(5) for run in (7, 7, 8))

    assert first == again
    assert {e.invoice_id for e in events_of(first)}.isdisjoint(e.invoice_id for e in events_of(other))


async def offered(answer: Answer, *, requests: int, connections: int) -> Offered:
    """Against a server of one behaviour."""
    left_behind, gone = set(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left_behind.add(writer)
        while head := (await reader.read(1 << 20)):
            length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n", 1)[0])
            left = len(head.partition(b"\r\n\r\n")[0]) + 4 + length - len(head)
            await reader.readexactly(left)
            await answer(writer)
        writer.close()
        await writer.wait_closed()
        left_behind.discard(writer)
        if not left_behind:
            gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rate = 50_000.0
    loop = OpenLoop(Journeys(1, 1, 1), rate, requests * EVENTS_PER_REQUEST / rate, answer_seconds=0.2)
    try:
        return await loop.run("127.0.0.1", port, connections, 0.0)
    finally:
        server.close()
        await gone.wait()
        await server.wait_closed()


def answering(status: str) -> Answer:
    """The same to every request, in two pieces as networks do."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-".encode())
        await writer.drain()
        writer.write(b"Length: 2\r\n\r\n{}")

    return answer


async def silent(writer: asyncio.StreamWriter) -> None:
    """Takes a request and says nothing."""


@pytest.mark.parametrize(("status", "outcome"), [("202 Accepted", "accepted"), ("503 Unavailable", "refused")])
async def test_an_answer_settles_the_events_of_its_request(status: str, outcome: str) -> None:
    """202 for all of them, or not."""
    found = await offered(answering(status), requests=20, connections=20)

    assert found.offered == 20 * EVENTS_PER_REQUEST
    assert getattr(found, outcome) == found.offered
    assert found.unsent == found.unanswered == 0
    assert found.answer_p50_ms <= found.answer_p99_ms


async def test_what_found_no_free_connection_is_offered_all_the_same() -> None:
    """The load is open: a server that does not answer makes events late and unsent, not fewer."""
    found = await offered(silent, requests=20, connections=4)

    assert found.offered == 20 * EVENTS_PER_REQUEST
    assert found.unanswered == 4 * EVENTS_PER_REQUEST
    assert found.unsent == 16 * EVENTS_PER_REQUEST
    assert found.accepted == found.refused == 0


def behind(sink: Callable[[int], int]) -> list[Behind]:
    """Forty looks, a second apart; the tracker is never far behind."""
    return [Behind(float(second), sink(second), 300) for second in range(40)]


def test_a_backlog_that_rises_and_falls_does_not_grow() -> None:
    """Only what is left over counts: by the second, of whichever is further behind."""
    rising_and_falling, growing = (
        behind(lambda second: 5_000 + 4_000 * (second % 2)),
        behind(lambda second: 100 * second),
    )

    assert growth_per_second(rising_and_falling) == pytest.approx(0.0)
    assert growth_per_second(growing) == pytest.approx(100.0)
    assert growth_per_second(growing[:3]) == 0.0
    assert steady(rising_and_falling, rate=1_000)
    assert not steady(growing, rate=1_000)


def test_what_comes_in_during_a_second_is_no_backlog() -> None:
    """The sink gathers rows before it writes them: looks fall into different places of its round."""
    assert growth_per_second(behind(lambda second: 10 * second)) == pytest.approx(10.0)
    assert steady(behind(lambda second: 10 * second), rate=500)
