"""The console's API: shapes, exact sums, and what it says when the store is away."""

from urllib.parse import quote

import httpx
import pytest

from bems_streams.console.guard import LOOPBACK
from bems_streams.ports import AlertRow, Coordinates, RetryRow, StoreBatch, StoreUnavailableError
from tests.unit.console_kit import NOW_US, SECOND_US, dead_letter, event, invoice, running


async def test_overview_sums_amounts_exactly_and_per_currency() -> None:
    """Value per stage is exact to the last digit, is text, and is never summed across currencies."""
    async with running() as kit:
        # given amounts that binary floats cannot add, in two currencies, and an invoice without one
        rows = [invoice("A", "0.10", "EUR"), invoice("B", "0.20", "EUR"), invoice("C", "9007199254740993.01", "USD")]
        rows += [invoice("D", None, None), invoice("E", "5", "EUR", stuck_since_us=None)]
        kit.store.write(StoreBatch(invoices=rows))

        # when
        stage = (await kit.overview())["overview"]["stages"][0]

        # then
        assert stage["value"] == {"EUR": "5.30", "USD": "9007199254740993.01"}
        assert stage["stuck_value"] == {"EUR": "0.30", "USD": "9007199254740993.01"}
        assert (stage["invoices"], stage["stuck"], stage["unvalued"]) == (5, 4, 1)


async def test_ledger_line_adds_up() -> None:
    """Accepted is the sum of stored, duplicates, dead-lettered and in retry."""
    async with running() as kit:
        # given two events, one of them twice, a dead letter, and one that waits in a lane
        twice = event("1")._replace(at=Coordinates("invoices.ingestion", 0, 99))
        waits = RetryRow(Coordinates("invoices.ingestion", 0, 100), "sink", "store_refused", "no", 1, 1, 1, 1)
        batch = StoreBatch(events=[event("1"), event("2"), twice], dead_letters=[dead_letter()], retrying=[waits])
        kit.store.write(batch)

        # when
        ledger = (await kit.overview())["overview"]["ledger"]

        # then
        assert ledger == {"accepted": 5, "stored": 2, "duplicates": 1, "dead_lettered": 1, "retrying": 1}


async def test_overview_tells_pace_and_visibility() -> None:
    """Events per second average ten settled seconds; the sparkline counts by bucket; visibility is per event."""
    async with running() as kit:
        # given 20 events five seconds ago, one in the second that still fills, one two minutes ago
        rows = [event(str(n)) for n in range(20)]
        kit.store.write(StoreBatch(events=[*rows, event("20", age_seconds=0.5), event("21", age_seconds=120)]))

        # when
        overview = (await kit.overview())["overview"]

        # then
        first, last = overview["stages"]
        assert (first["per_second"], last["per_second"]) == (2.0, 0.0)
        assert sum(first["spark"]) == 21
        assert max(first["spark"]) == 20
        assert len(first["spark"]) * overview["spark_bucket_seconds"] == 174
        assert overview["visibility"] == {"events": 21, "p50_ms": 40.0, "p99_ms": 40.0}


async def test_stages_come_in_journey_order_and_unknown_ones_last() -> None:
    """A stage that only the store knows is shown, and marked as not in the catalogue."""
    async with running() as kit:
        # given an invoice in a stage that the catalogue lost
        kit.store.write(StoreBatch(invoices=[invoice("A", "1", "EUR", stage="archived")]))

        # when
        stages = (await kit.overview())["overview"]["stages"]

        # then
        assert [(s["name"], s["final"], s["in_catalogue"]) for s in stages] == [
            ("ingestion", False, True),
            ("posting", True, True),
            ("archived", False, False),
        ]
        assert stages[0]["stuck_after_us"] == 60 * SECOND_US


async def test_stuck_list_is_longest_first_with_money_as_text() -> None:
    """Finance reads invoice, stage, since when and how much, exactly."""
    async with running() as kit:
        # given
        older_us = NOW_US - 3600 * SECOND_US
        rows = [invoice("young", "12.30", "EUR"), invoice("old", "45.60", "USD", stuck_since_us=older_us)]
        kit.store.write(StoreBatch(invoices=rows))

        # when
        await kit.live.refresh()
        body = (await kit.get("/api/stuck")).json()

        # then
        assert body["total"] == 2
        assert [(row["invoice_id"], row["invoice_amount"], row["currency"]) for row in body["invoices"]] == [
            ("old", "45.60", "USD"),
            ("young", "12.30", "EUR"),
        ]
        assert body["invoices"][0]["stuck_since_us"] == older_us
        assert "document" not in body["invoices"][0]


async def test_dead_letters_name_their_place_and_reason() -> None:
    """Operations reads topic, partition, offset, code and reason."""
    async with running() as kit:
        # given
        kit.store.write(StoreBatch(dead_letters=[dead_letter()]))

        # when
        await kit.live.refresh()
        body = (await kit.get("/api/dead-letters")).json()

        # then
        [letter] = body["dead_letters"]
        assert letter["at"] == {"topic": "invoices.ingestion", "partition": 2, "offset": 9}
        assert (letter["code"], letter["reason"], body["total"]) == ("not_json", "not valid JSON", 1)


@pytest.mark.parametrize("invoice_id", ["INV-1", "a/b?c#d %", "/", "<img src=x onerror=alert(1)>", "ÄÖ€"])
async def test_any_invoice_id_can_be_looked_up(invoice_id: str) -> None:
    """An id is opaque: slashes, spaces and markup in it are found again unchanged."""
    async with running() as kit:
        # given an event, an alert and a state of that invoice
        alert = AlertRow(invoice_id, "ingestion", NOW_US, "stuck", NOW_US, '{"reason":"2 minutes in ingestion"}')
        batch = StoreBatch(
            events=[event("1", invoice_id)], invoices=[invoice(invoice_id, "1.00", "EUR")], alerts=[alert]
        )
        kit.store.write(batch)

        # when
        response = await kit.get("/api/invoices/" + quote(invoice_id, safe=""))

        # then
        body = response.json()
        assert response.status_code == 200
        assert body["invoice"]["invoice_id"] == invoice_id
        assert body["events"][0]["invoice_id"] == invoice_id
        assert body["alerts"][0]["reason"] == "2 minutes in ingestion"


async def test_alert_record_of_another_version_still_shows() -> None:
    """An alert whose document cannot be read loses its reason, not its row."""
    async with running() as kit:
        # given
        rows = [
            AlertRow("INV-1", "ingestion", n, "stuck", n, text)
            for n, text in enumerate(("no json", "[]", '{"reason":1}'))
        ]
        kit.store.write(StoreBatch(alerts=rows))

        # when
        body = (await kit.get("/api/invoices/INV-1")).json()

        # then
        assert [alert["reason"] for alert in body["alerts"]] == [None, None, None]


async def test_unknown_invoice_is_404_and_says_what_to_check() -> None:
    """A search that finds nothing helps on."""
    async with running() as kit:
        # when
        response = await kit.get("/api/invoices/inv-1")

        # then
        assert response.status_code == 404
        assert "inv-1" in response.json()["error"]
        assert "case-sensitive" in response.json()["error"]


async def test_store_away_keeps_the_last_snapshot_and_says_why() -> None:
    """While the store is away the page stays up: old figures, their age, the reason, and since when."""
    async with running() as kit:
        # given a snapshot, then a store that fails
        kit.store.write(StoreBatch(events=[event("1")]))
        await kit.live.refresh()
        kit.moody.error = StoreUnavailableError("store x: the disk is full; free space")
        kit.clock.us += 4 * SECOND_US

        # when it is looked at twice
        await kit.overview()
        kit.clock.us += SECOND_US
        body = await kit.overview()

        # then
        assert body["overview"]["ledger"]["stored"] == 1
        assert body["age_us"] == 5 * SECOND_US
        assert body["trouble"] == {
            "message": "store x: the disk is full; free space.",
            "since_us": NOW_US + 4 * SECOND_US,
        }
        assert (await kit.get("/readyz")).status_code == 503
        assert "disk is full" in (await kit.get("/readyz")).json()["reason"]
        assert (await kit.get("/healthz")).status_code == 200


async def test_store_that_comes_back_is_shown_again() -> None:
    """Trouble ends by itself."""
    async with running() as kit:
        # given a store that was away
        kit.store.write(StoreBatch(events=[event("1")]))
        kit.moody.error = StoreUnavailableError("locked")
        assert (await kit.overview())["overview"] is None

        # when
        kit.moody.error = None
        body = await kit.overview()

        # then
        assert body["trouble"] is None
        assert body["overview"]["ledger"]["stored"] == 1
        assert (await kit.get("/readyz")).status_code == 200


async def test_missing_store_says_who_creates_it() -> None:
    """Before the sink has ever run there is no store: the page names it and says what to start."""
    async with running() as kit:
        # given a store that nobody has created
        kit.forget_store()

        # when
        body = await kit.overview()

        # then
        assert body["overview"] is None
        assert "no store at memory:" in body["trouble"]["message"]
        assert "bems worker sink" in body["trouble"]["message"]
        assert (await kit.get("/api/stuck")).status_code == 503


async def test_defect_in_a_query_becomes_a_sentence_not_a_dead_page(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected failure is logged with its traceback and shown; the next look is tried."""
    async with running() as kit:
        # given
        kit.store.write(StoreBatch(events=[event("1")]))
        kit.moody.error = ZeroDivisionError("oops")

        # when
        body = await kit.overview()

        # then
        assert "ZeroDivisionError: oops" in body["trouble"]["message"]
        assert "Traceback" in caplog.text


async def test_slow_store_does_not_stop_the_page() -> None:
    """A store that hangs costs a timeout, never the page: overview and search both answer, with the reason."""
    async with running() as kit:
        # given
        kit.store.write(StoreBatch(events=[event("1")]))
        kit.moody.go.clear()

        # when
        await kit.live.refresh(timeout_seconds=0.05)
        overview = (await kit.get("/api/overview")).json()
        search = await kit.get("/api/invoices/INV-1")

        # then
        assert "did not answer within 0.05 s" in overview["trouble"]["message"]
        assert search.status_code == 503
        assert "did not answer within 0.2 s" in search.json()["error"]


async def test_fifty_viewers_are_one_look() -> None:
    """All viewers share the snapshot: their polls never reach the store."""
    async with running() as kit:
        # given
        kit.store.write(StoreBatch(events=[event("1")]))
        await kit.live.refresh()

        # when
        answers = [
            await kit.get(path) for _ in range(50) for path in ("/api/overview", "/api/stuck", "/api/dead-letters")
        ]

        # then
        assert {answer.status_code for answer in answers} == {200}
        assert kit.moody.looks == 1


async def test_list_version_changes_only_with_the_list() -> None:
    """A page fetches the stuck list again only when it is another one."""
    async with running() as kit:
        # given
        kit.store.write(StoreBatch(events=[event("1")], invoices=[invoice("A", "1", "EUR")]))
        before = (await kit.overview())["versions"]

        # when an event comes, then an invoice becomes stuck
        kit.store.write(StoreBatch(events=[event("2")]))
        after_event = (await kit.overview())["versions"]
        kit.store.write(StoreBatch(invoices=[invoice("B", "1", "EUR")]))
        after_stuck = (await kit.overview())["versions"]

        # then
        assert after_event == before
        assert after_stuck["stuck"] != before["stuck"]
        assert after_stuck["dead_letters"] == before["dead_letters"]


async def test_old_snapshot_is_not_ready() -> None:
    """Readiness tells when what is shown has grown old."""
    async with running() as kit:
        # given
        kit.store.write(StoreBatch(events=[event("1")]))
        await kit.live.refresh()

        # when
        kit.clock.us += 20 * SECOND_US

        # then
        response = await kit.get("/readyz")
        assert response.status_code == 503
        assert "20 s old" in response.json()["reason"]


async def test_every_answer_carries_the_strict_policy() -> None:
    """No inline script or style, nothing from elsewhere, no framing, no parsing of markup: also on errors."""
    async with running() as kit:
        for path in ("/", "/static/main.js", "/api/overview", "/api/invoices/x", "/nowhere", "/metrics"):
            # when
            headers = (await kit.get(path)).headers

            # then
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "unsafe" not in policy
            assert "require-trusted-types-for 'script'" in policy
            assert headers["x-content-type-options"] == "nosniff"


async def test_foreign_host_name_is_refused() -> None:
    """A page elsewhere that points its own name at this machine learns nothing."""
    async with running(hosts=LOOPBACK) as kit:
        # when
        foreign = await kit.get("/api/overview", Host="evil.example:8090")
        own = [
            (await kit.get("/healthz", Host=host)).status_code for host in ("localhost:8090", "127.0.0.1", "[::1]:8090")
        ]

        # then
        assert foreign.status_code == 421
        assert "--host" in foreign.text
        assert own == [200, 200, 200]


async def test_wrong_path_and_method_say_what_there_is() -> None:
    """Errors of the API are JSON and name the ways that exist."""
    async with running() as kit:
        # when
        missing, posted = await kit.get("/api/nothing"), await kit.http.post("/api/overview")

        # then
        assert (missing.status_code, posted.status_code) == (404, 405)
        assert "/api/overview" in missing.json()["error"]
        assert "GET" in posted.json()["error"]


async def test_metrics_count_looks_by_outcome() -> None:
    """Prometheus sees how often the store was looked at, and how often in vain."""
    async with running() as kit:
        # given
        kit.store.write(StoreBatch(events=[event("1")]))
        await kit.live.refresh()
        kit.moody.error = StoreUnavailableError("locked")
        await kit.live.refresh()

        # when
        text = (await kit.get("/metrics")).text

        # then
        assert 'bems_console_looks_total{outcome="taken"} 1.0' in text
        assert 'bems_console_looks_total{outcome="failed"} 1.0' in text


async def test_watched_processes_tell_their_reason() -> None:
    """Ready, not ready with its reason, and gone are told apart; a process keeps its name when it is gone."""
    gone = False

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.port == 9101:
            return httpx.Response(200, json={"status": "ready", "role": "tracker"})
        if gone:
            raise httpx.ConnectError("connection refused")
        return httpx.Response(503, json={"status": "not ready", "role": "sink", "reason": "store away"})

    async with running(answer=httpx.MockTransport(answer)) as kit:
        # when
        await kit.roles.refresh()
        first = (await kit.get("/api/overview")).json()["roles"]
        gone = True
        await kit.roles.refresh()
        second = (await kit.get("/api/overview")).json()["roles"]

        # then
        assert [(role["role"], role["ready"], role["reason"]) for role in first] == [
            ("tracker", True, None),
            ("sink", False, "store away"),
        ]
        assert (second[1]["role"], second[1]["ready"]) == ("sink", False)
        assert "is it running?" in second[1]["reason"]


async def test_watched_address_that_is_something_else_is_named_so() -> None:
    """An address that answers, but not as a process of a cell, is not ready."""
    async with running(answer=httpx.MockTransport(lambda request: httpx.Response(200, text="hello"))) as kit:
        # when
        await kit.roles.refresh()

        # then
        assert [role.ready for role in kit.roles.seen] == [False, False]
        assert "not as a process of a cell" in str(kit.roles.seen[0].reason)
