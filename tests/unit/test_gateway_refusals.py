"""What the gateway refuses at its door, and how it says so."""

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any

import pytest

from bems_streams.domain.event import MAX_EVENT_BYTES
from bems_streams.gateway.body import OVERDUE, Gzip
from bems_streams.gateway.limits import Limits
from tests.unit.gateway_kit import JSON_HEADERS, STAGE_TOPICS, Bench, encoded, event, is_problem

SMALL = Limits(body_bytes=2_000, batch_events=4, in_flight_events=4, in_flight_bytes=4_000, body_timeout_seconds=0.05)
GZIP_HEADERS = {**JSON_HEADERS, "content-encoding": "gzip"}


async def test_an_unknown_stage_gets_404_listing_the_stages() -> None:
    """So that a slip of the pen is found without the documentation."""
    reply = await Bench().send(encoded(event()), path="/v1/approval/events")

    assert is_problem(reply, 404, "unknown-stage")
    assert all(f"/v1/{stage}/events" in reply.json["detail"] for stage in STAGE_TOPICS)


@pytest.mark.parametrize("path", ["/v1/ingestion", "/v1/ingestion/events/", "/v1/", "/v2/ingestion/events", "/nowhere"])
async def test_other_addresses_get_404(path: str) -> None:
    """Also as a problem document."""
    assert is_problem(await Bench().send(encoded(event()), path=path), 404, "not-found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_get_405_and_the_right_one(method: str) -> None:
    """The Allow header names what is possible."""
    reply = await Bench().send(method=method)

    assert is_problem(reply, 405, "method-not-allowed")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_other_content_types_get_415(content_type: str) -> None:
    """curl's default would otherwise be a puzzle."""
    headers = {"content-type": content_type} if content_type else {}

    reply = await Bench().send(encoded(event()), headers=headers)

    assert is_problem(reply, 415, "media-type")
    assert reply.headers["accept"] == "application/json"


async def test_a_charset_parameter_is_fine() -> None:
    """Many clients send one."""
    reply = await Bench().send(encoded(event()), headers={"content-type": "Application/JSON; charset=utf-8"})

    assert reply.status == 202


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
async def test_other_content_encodings_get_415(encoding: str) -> None:
    """The answer says which one is possible (RFC 7694)."""
    reply = await Bench().send(encoded(event()), headers={**JSON_HEADERS, "content-encoding": encoding})

    assert is_problem(reply, 415, "media-type")
    assert reply.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "body", [b"not gzip", gzip.compress(encoded(event()))[:-9], gzip.compress(b"{}") + b"tail"], ids=str
)
async def test_broken_gzip_gets_400(body: bytes) -> None:
    """Cut off, or followed by something else."""
    bench = Bench()

    assert is_problem(await bench.send(body, headers=GZIP_HEADERS), 400, "invalid-body")
    assert bench.log.records == []


async def test_an_empty_array_gets_400() -> None:
    """Accepting nothing with 202 would hide a sender's mistake."""
    assert is_problem(await Bench().send(b"[ ]"), 400, "invalid-body")


@pytest.mark.parametrize("body", [b"", b"{", b"[{},]", b"\xff", b"[" * 10_000, b"null", b"7"])
async def test_bodies_that_are_no_events_get_400(body: bytes) -> None:
    """And say why."""
    reply = await Bench().send(body)

    assert reply.status == 400
    assert reply.json["problems"][0]["message"]


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([b" " * 1_500, b" " * 501], JSON_HEADERS),
        ([b""], {**JSON_HEADERS, "content-length": "2001"}),
        ([b""], {**JSON_HEADERS, "content-length": "9" * 5_000}),
        ([gzip.compress(b" " * 2_001)], GZIP_HEADERS),
        ([gzip.compress(b" " * 50_000_000)], GZIP_HEADERS),
    ],
    ids=["while streaming", "as announced", "absurdly announced", "inflated", "gzip bomb"],
)
async def test_a_body_over_the_limit_gets_413(pieces: list[bytes], headers: Mapping[str, str]) -> None:
    """However it hides its size."""
    bench = Bench(limits=SMALL)

    reply = await bench.send(pieces, headers=headers)

    assert is_problem(reply, 413, "body-too-large")
    assert "2000" in reply.json["detail"]
    assert bench.app.in_flight.bytes == 0


def test_a_gzip_bomb_is_never_inflated_in_full() -> None:
    """One byte over the room is enough to refuse it; 50 MB would be enough to be hurt."""
    bomb = gzip.compress(b" " * 50_000_000)

    assert len(Gzip().feed(bomb, 2_000)) == 2_001


async def test_a_body_of_just_the_limit_is_read() -> None:
    """The limit itself is allowed, plain and inflated."""
    raw = encoded(event())
    body = raw + b" " * (SMALL.body_bytes - len(raw))

    for sent, headers in ((body, JSON_HEADERS), (gzip.compress(body), GZIP_HEADERS)):
        assert (await Bench(limits=SMALL).send(sent, headers=headers)).status == 202


async def test_an_event_over_its_own_limit_is_rejected() -> None:
    """An event has a limit apart from the body's, because every reader must hold it."""
    reply = await Bench().send(encoded(event()) + b" " * MAX_EVENT_BYTES)

    assert is_problem(reply, 400, "invalid-event")
    assert str(MAX_EVENT_BYTES) in reply.json["problems"][0]["message"]


async def test_a_batch_over_the_limit_gets_413_that_says_the_limit() -> None:
    """Nothing of it is kept."""
    bench = Bench(limits=SMALL)

    reply = await bench.send(b"[1,2,3,4,5]")

    assert is_problem(reply, 413, "batch-too-large")
    assert "at most 4" in reply.json["detail"]


async def stall(bench: Bench) -> int:
    """A request whose body does not come; the status of the answer."""
    status = 0

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json")]
    await bench.app({"type": "http", "method": "POST", "path": "/v1/posting/events", "headers": headers}, receive, send)
    return status


async def test_a_body_that_stalls_gets_408() -> None:
    """A slow sender cannot hold room for ever; who sent it is not cancelled in the end."""
    bench = Bench(limits=SMALL)
    request = asyncio.create_task(stall(bench))

    assert await request == 408
    assert request.cancelling() == 0
    assert bench.app.in_flight.bytes == 0


async def test_a_request_that_is_cancelled_while_its_body_comes_is_cancelled() -> None:
    """The server that stops takes no 408 for an end."""
    request = asyncio.create_task(stall(Bench()))
    await asyncio.sleep(0)

    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request


async def test_a_request_that_is_cancelled_as_its_time_runs_out_is_cancelled() -> None:
    """Both at once: the server's wish counts."""
    request = asyncio.create_task(stall(Bench()))
    await asyncio.sleep(0)

    request.cancel(OVERDUE)
    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request
