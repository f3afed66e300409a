"""The gateway over HTTP, with a log in memory: receipts, correlation, counting."""

import gzip

import pytest

from tests.unit.gateway_kit import JSON_HEADERS, STAGE_TOPICS, Bench, MemoryLog, encoded, event, is_problem, refusing

GZIP_HEADERS = {**JSON_HEADERS, "content-encoding": "gzip"}


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
    assert [dict(record.headers)["correlation-id"] for record in bench.log.records] == [each.encode() for each in ids]


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
