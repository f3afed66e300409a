"""The gateway over HTTP, with a log in memory: what a sender is told, and what reaches the log."""

import asyncio
import gzip
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.event import MAX_EVENT_BYTES
from bems_streams.gateway.limits import Limits
from bems_streams.ports import NotAppended
from tests.unit.gateway_kit import JSON_HEADERS, STAGE_TOPICS, Bench, MemoryLog, Reply, encoded, event, refusing, until

SMALL = Limits(body_bytes=2_000, batch_events=4, in_flight_events=4, in_flight_bytes=4_000, body_timeout_seconds=0.05)
GZIP_HEADERS = {**JSON_HEADERS, "content-encoding": "gzip"}


def is_problem(reply: Reply, status: int, kind: str) -> bool:
    """An RFC 9457 document whose parts agree with the answer that carries it."""
    document = reply.json
    return (
        (reply.status, document["status"], document["type"]) == (status, status, f"/docs#{kind}")
        and reply.headers["content-type"] == "application/problem+json"
        and document["correlation_id"] == reply.headers["x-correlation-id"]
        and bool(document["title"])
        and bool(document["detail"])
    )


# ---------------------------------------------------------------------------------------------------- what is good


async def test_one_event_gets_a_receipt_that_names_its_place() -> None:
    """The receipt has cell, topic, partition and offset, apart and in one string, and the broker's time."""
    bench = Bench()
    await bench.send(encoded(event(1)))

    reply = await bench.send(encoded(event(2)))

    assert reply.status == 202
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == {
        "event_id": "e-2",
        "cell": "cell-7",
        "topic": "invoices.ingestion",
        "partition": 0,
        "offset": 1,
        "accepted_at": "2025-11-23T12:13:20.123Z",
        "receipt": "cell-7/invoices.ingestion/0/1",
    }


@pytest.mark.parametrize("stage", STAGE_TOPICS)
async def test_each_stage_has_its_own_address_and_topic(stage: str) -> None:
    """The record is the sender's bytes, keyed by invoice, with correlation id and cell."""
    bench = Bench()
    raw = encoded(event(1, stage=stage))

    await bench.send(raw, path=f"/v1/{stage}/events", headers={**JSON_HEADERS, "x-correlation-id": "corr-1"})

    (record,) = bench.log.records
    assert (record.topic, record.key, record.value) == (STAGE_TOPICS[stage], b"INV-1", raw)
    assert list(record.headers) == [("correlation-id", b"corr-1"), ("cell", b"cell-7")]


async def test_a_good_batch_gets_202_with_receipts_in_order() -> None:
    """Every item has its receipt; the bytes of each are cut out untouched."""
    bench = Bench()
    raws = [encoded(event(n)) for n in range(5)]

    reply = await bench.send(b" [" + b" ,\n".join(raws) + b" ]\n")

    assert reply.status == 202
    assert (reply.json["accepted"], reply.json["rejected"], reply.json["unavailable"]) == (5, 0, 0)
    assert [item["event_id"] for item in reply.json["items"]] == [f"e-{n}" for n in range(5)]
    assert {item["status"] for item in reply.json["items"]} == {202}
    assert [record.value for record in bench.log.records] == raws


async def test_a_mixed_batch_gets_207_and_names_every_field() -> None:
    """Good items are kept; each problem's path is a pointer into the body as sent."""
    bench = Bench()
    bad = event(2, source=None, invoice_amount="12x", ppv="1", **{"a/b c": 1}, attributes={"k": 1})

    reply = await bench.send(encoded([event(1), bad, event(3, stage="posting")]))

    assert reply.status == 207
    good, wrong, misplaced = reply.json["items"]
    assert (good["status"], wrong["status"], misplaced["status"]) == (202, 400, 400)
    paths = {problem["path"] for problem in wrong["problems"]}
    names = ("source", "invoice_amount", "currency", "a~1b%20c", "attributes/k")
    assert paths == {f"#/1/{name}" for name in names}
    assert (wrong["code"], misplaced["code"]) == ("invalid_event", "wrong_stage")
    assert [problem["path"] for problem in misplaced["problems"]] == ["#/2/stage"]
    assert [record.key for record in bench.log.records] == [b"INV-1"]


async def test_a_batch_of_bad_events_gets_400() -> None:
    """Nothing is kept, each item says why."""
    bench = Bench()

    reply = await bench.send(encoded([{}, 7, "x"]))

    assert reply.status == 400
    assert (reply.json["accepted"], reply.json["rejected"]) == (0, 3)
    assert bench.log.records == []


async def test_one_bad_event_gets_a_problem_document_naming_every_field() -> None:
    """A single event's pointers start at the body itself."""
    bench = Bench()

    reply = await bench.send(encoded({"event_id": "", "colour": "red"}))

    assert is_problem(reply, 400, "invalid-event")
    assert reply.json["instance"] == "/v1/ingestion/events"
    assert reply.paths == {"#/event_id", "#/source", "#/occurred_at", "#/invoice_id", "#/stage", "#/colour"}


async def test_an_event_with_thousands_of_unknown_fields_gets_a_bounded_answer() -> None:
    """The answer says how many problems it leaves out."""
    bench = Bench()

    reply = await bench.send(encoded(event(1, **{f"f{n}": 1 for n in range(3000)})))

    assert is_problem(reply, 400, "invalid-event")
    assert len(reply.json["problems"]) == 101
    assert "2900 more" in reply.json["problems"][-1]["message"]


@pytest.mark.parametrize("header", ["X-Correlation-Id", "Correlation-Id"])
async def test_the_senders_correlation_id_comes_back(header: str) -> None:
    """On the answer, whatever it is."""
    bench = Bench()

    for body in (encoded(event()), b"{}"):
        reply = await bench.send(body, headers={**JSON_HEADERS, header.lower(): "abc-123"})

        assert reply.headers["x-correlation-id"] == "abc-123"


async def test_a_correlation_id_is_made_up_when_absent() -> None:
    """A new one per request, on the record too."""
    bench = Bench()

    replies = [await bench.send(encoded(event(n))) for n in range(2)]

    ids = [reply.headers["x-correlation-id"] for reply in replies]
    assert len(set(ids)) == 2
    assert [dict(record.headers)["correlation-id"].decode() for record in bench.log.records] == ids


@pytest.mark.parametrize("value", ["", "a b", "x" * 129, "naïve"])
async def test_an_unusable_correlation_id_is_refused(value: str) -> None:
    """It would become a header of every record; better to say so than to drop it."""
    bench = Bench()

    reply = await bench.send(encoded(event()), headers={**JSON_HEADERS, "x-correlation-id": value})

    assert is_problem(reply, 400, "invalid-header")
    assert bench.log.records == []


async def test_gzip_is_inflated_before_anything_else() -> None:
    """Several gzip members count as one body, and pieces may be cut anywhere."""
    bench = Bench()
    body = encoded([event(1), event(2)])
    squeezed = gzip.compress(body[:50]) + gzip.compress(body[50:])

    reply = await bench.send([squeezed[:3], squeezed[3:70], b"", squeezed[70:]], headers=GZIP_HEADERS)

    assert reply.status == 202
    assert len(bench.log.records) == 2


# ----------------------------------------------------------------------------------------------------- what is not


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


async def test_a_body_that_stalls_gets_408() -> None:
    """A slow sender cannot hold room for ever."""
    bench = Bench(limits=SMALL)
    status = 0

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"content-type", b"application/json")]
    await bench.app({"type": "http", "method": "POST", "path": "/v1/posting/events", "headers": headers}, receive, send)

    assert status == 408
    assert bench.app.in_flight.bytes == 0


# ------------------------------------------------------------------------------------------ when it cannot be durable


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


# ------------------------------------------------------------------------------------------------ counting and reading


async def test_events_are_counted_by_stage_and_outcome() -> None:
    """The figures on the dashboards."""
    bench = Bench(log=MemoryLog(refusing(b'"e-2"')))

    await bench.send(encoded([event(1), event(2), {}, event(4)]))

    def events(outcome: str) -> float:
        return bench.counted("bems_gateway_events_total", stage="ingestion", outcome=outcome)

    assert (events("accepted"), events("rejected"), events("unavailable")) == (2, 1, 1)
    assert bench.counted("bems_gateway_requests_total", status="207") == 1


async def test_stopping_is_not_ready_but_still_takes_what_comes() -> None:
    """Until the listener closes, a request that made it here is carried out."""
    bench = Bench()
    bench.availability.stop()

    assert (await bench.send(method="GET", path="/readyz")).status == 503
    assert (await bench.send(encoded(event()))).status == 202


async def test_the_cold_routes_answer() -> None:
    """Documentation, health and metrics on the same port."""
    bench = Bench()
    await bench.send(encoded(event()))

    metrics = await bench.send(method="GET", path="/metrics")
    docs = await bench.send(method="GET", path="/docs")
    api = await bench.send(method="GET", path="/openapi.json")

    assert b'bems_gateway_events_total{outcome="accepted",stage="ingestion"} 1.0' in metrics.body
    assert (await bench.send(method="GET", path="/healthz")).json["status"] == "alive"
    assert docs.headers["content-type"].startswith("text/html")
    assert b"<script" not in docs.body
    assert set(api.json["paths"]) == {f"/v1/{stage}/events" for stage in STAGE_TOPICS}
    assert (await bench.send(method="DELETE", path="/docs")).headers["allow"] == "GET, HEAD"


async def test_every_problem_type_is_explained_where_its_uri_points() -> None:
    """A type URI that leads nowhere would be worse than none."""
    bench = Bench()
    docs = (await bench.send(method="GET", path="/docs")).body.decode()
    replies = [await bench.send(b"{}"), await bench.send(b"[]"), await bench.send(path="/v1/x/events")]

    for reply in replies:
        anchor = reply.json["type"].removeprefix("/docs#")
        assert f'id="{anchor}"' in docs


async def test_the_documents_own_example_is_accepted() -> None:
    """Somebody will paste it."""
    bench = Bench()
    api = (await bench.send(method="GET", path="/openapi.json")).json

    for path, operations in api["paths"].items():
        example = operations["post"]["requestBody"]["content"]["application/json"]["example"]
        assert (await bench.send(encoded(example), path=path)).status == 202


def references(node: Any) -> set[str]:
    """Every $ref below a node."""
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*(references(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(references(child) for child in node))
    return set()


async def test_every_reference_of_the_openapi_document_resolves() -> None:
    """Generators of clients stop at the first that does not."""
    api = (await Bench().send(method="GET", path="/openapi.json")).json

    schemas = {f"#/components/schemas/{name}" for name in api["components"]["schemas"]}
    assert references(api) <= schemas
    assert "#/components/schemas/Event" in references(api)


# -------------------------------------------------------------------------------------------------------- any bytes

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(["invoice_amount", "attributes", "currency", "occurred_at", "stage", "event_id", "ppv", "x"])
near_events = st.dictionaries(fields, json_values, max_size=3).map(lambda changes: event() | changes)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(encoded),
    st.lists(near_events | json_values, max_size=5).map(encoded),
    near_events.map(encoded),
    st.tuples(near_events.map(encoded), st.integers(0, 120), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    ),
)


@given(body=bodies, headers=st.sampled_from([JSON_HEADERS, GZIP_HEADERS]))
def test_no_bytes_make_a_healthy_gateway_fail(body: bytes, headers: Mapping[str, str]) -> None:
    """Whatever comes, the sender is at fault or it is accepted, and as many are kept as were promised."""
    bench = Bench()

    reply = asyncio.run(bench.send(gzip.compress(body) if headers is GZIP_HEADERS else body, headers=headers))

    assert reply.status in {202, 207, 400}
    promised = reply.json.get("accepted", 1) if reply.status != 400 else 0
    assert len(bench.log.records) == promised


@given(body=st.binary(max_size=300))
def test_no_bytes_make_the_gzip_reader_fail(body: bytes) -> None:
    """Neither what claims to be gzip."""
    reply = asyncio.run(Bench().send(b"\x1f\x8b\x08\x00" + body, headers=GZIP_HEADERS))

    assert reply.status in {202, 207, 400}
