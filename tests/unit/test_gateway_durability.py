"""What the gateway says while events cannot be made durable, and what it holds meanwhile."""

import asyncio

from bems_streams.gateway.limits import Limits
from bems_streams.ports import NotAppended
from tests.unit.gateway_kit import Bench, MemoryLog, encoded, event, is_problem, refusing, until

SMALL = Limits(body_bytes=2_000, batch_events=4, in_flight_events=4, in_flight_bytes=4_000, body_timeout_seconds=0.05)


async def test_while_the_broker_is_known_to_be_away_everything_is_refused_at_once() -> None:
    """503 with Retry-After; nothing reaches the log; it recovers by itself; readiness tells the same story."""
    bench = Bench(away="no broker answers")

    refused = await bench.send(encoded(event(1)))
    unready = await bench.send(method="GET", path="/readyz")
    bench.availability.learn(None)
    taken = await bench.send(encoded(event(1)))
    ready = await bench.send(method="GET", path="/readyz")

    assert is_problem(refused, 503, "unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert "same event_id again is safe" in refused.json["detail"]
    assert (unready.status, unready.json["reason"]) == (503, "no broker answers")
    assert (taken.status, ready.status) == (202, 200)
    assert len(bench.log.records) == 1


async def test_a_gateway_is_away_until_its_first_contact() -> None:
    """It may start before the broker does."""
    bench = Bench(away="no contact with the broker yet")

    assert (await bench.send(encoded(event()))).status == 503


async def test_an_unproven_event_gets_503_and_never_a_receipt() -> None:
    """The sender learns that sending it again is safe."""
    bench = Bench(log=MemoryLog(lambda _: NotAppended("may or may not be written: timed out", True)))

    reply = await bench.send(encoded(event()))

    assert is_problem(reply, 503, "unavailable")
    assert "may or may not be written" in reply.json["detail"]
    assert "receipt" not in reply.json
    assert int(reply.headers["retry-after"]) > 0


async def test_a_batch_that_fails_in_part_says_so_per_item() -> None:
    """207: receipts for what is durable, 503 for what may not be, 400 for what is wrong."""
    bench = Bench(log=MemoryLog(refusing(b'"e-2"')))

    reply = await bench.send(encoded([event(1), event(2), {}, event(4)]))

    assert reply.status == 207
    assert [item["status"] for item in reply.json["items"]] == [202, 503, 400, 202]
    assert (reply.json["accepted"], reply.json["rejected"], reply.json["unavailable"]) == (2, 1, 1)
    assert reply.json["items"][1]["event_id"] == "e-2"
    assert "receipt" not in reply.json["items"][1]
    assert "retry-after" in reply.headers


async def test_a_batch_of_which_nothing_is_proven_gets_503() -> None:
    """Nothing was accepted, so the whole answer says so."""
    bench = Bench(log=MemoryLog(lambda _: NotAppended("timed out", True)))

    reply = await bench.send(encoded([event(1), event(2)]))

    assert (reply.status, reply.json["accepted"], reply.json["unavailable"]) == (503, 0, 2)
    assert "retry-after" in reply.headers


async def test_nobody_is_answered_before_the_broker_has_spoken() -> None:
    """The answer waits for the proof."""
    bench = Bench()
    bench.log.gate.clear()
    request = asyncio.create_task(bench.send(encoded(event())))
    await until(lambda: bench.log.waiting == 1)

    assert not request.done()
    bench.log.gate.set()

    assert (await request).status == 202


async def test_too_many_events_in_flight_get_429_and_room_comes_back() -> None:
    """The gateway does not queue without bound; Retry-After says when to come back."""
    bench = Bench(limits=SMALL)
    bench.log.gate.clear()
    first = asyncio.create_task(bench.send(encoded([event(n) for n in range(4)])))
    await until(lambda: bench.log.waiting == 1)

    refused = await bench.send(encoded(event(9)))
    in_flight = bench.counted("bems_gateway_in_flight_events")
    bench.log.gate.set()

    assert is_problem(refused, 429, "busy")
    assert int(refused.headers["retry-after"]) > 0
    assert in_flight == 4
    assert (await first).status == 202
    assert bench.app.in_flight.events == bench.app.in_flight.bytes == 0
    assert (await bench.send(encoded(event(9)))).status == 202


async def test_too_many_bytes_in_flight_get_429() -> None:
    """Few but large bodies count too."""
    bench = Bench(limits=SMALL)
    bench.log.gate.clear()
    large = encoded(event()) + b" " * 1_500
    held = [asyncio.create_task(bench.send(large)) for _ in range(2)]
    await until(lambda: bench.log.waiting == 2)

    refused = await bench.send(large)
    bench.log.gate.set()

    assert is_problem(refused, 429, "busy")
    assert [(await request).status for request in held] == [202, 202]


async def test_a_sender_that_goes_away_in_the_middle_leaves_nothing_behind() -> None:
    """No answer, no record, no room held."""
    bench = Bench()

    reply = await bench.send(encoded(event())[:20], cut_off=True)

    assert reply.status == 0
    assert bench.log.records == []
    assert bench.app.in_flight.events == bench.app.in_flight.bytes == 0


async def test_a_cancelled_request_gives_its_room_back() -> None:
    """A stop that has run out of patience cancels requests; their room must not stay taken."""
    bench = Bench()
    bench.log.gate.clear()
    request = asyncio.create_task(bench.send(encoded(event())))
    await until(lambda: bench.log.waiting == 1)

    request.cancel()
    await asyncio.gather(request, return_exceptions=True)

    assert bench.app.in_flight.events == bench.app.in_flight.bytes == 0


async def test_a_defect_gets_an_honest_500() -> None:
    """No stack trace for the sender, and no claim about the events."""

    def break_down(_: object) -> None:
        raise ZeroDivisionError("defect")

    reply = await Bench(log=MemoryLog(break_down)).send(encoded(event()))

    assert is_problem(reply, 500, "internal")
    assert b"ZeroDivisionError" not in reply.body
