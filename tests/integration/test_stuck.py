"""Stuck invoices are named on the wall clock: once, although nothing else happens, and across restarts."""

import json
from typing import Any

import httpx
from confluent_kafka import Producer

from bems_streams.local.cell import Cell
from tests.integration.conftest import StartCell
from tests.support import RunningCell, eventually

DAY_SECONDS = 86_400


def event(stage: str, number: int) -> bytes:
    """One event of the only invoice."""
    return json.dumps(
        {
            "event_id": f"event-{number}",
            "source": "test",
            "occurred_at": f"2026-01-0{number}T12:00:00Z",
            "invoice_id": "invoice-1",
            "stage": stage,
            "invoice_amount": "120.50",
            "currency": "EUR",
            "payee_code": "payee-7",
        }
    ).encode()


def alerts(running: RunningCell) -> list[dict[str, Any]]:
    """All alerts that committed readers see."""
    return [json.loads(record.value()) for record in running.records(running.catalogue.alerts_topic)]


def scans(cell: Cell) -> float:
    """Deadline scans that the tracker has done since it started."""
    try:
        text = httpx.get(f"{cell.addresses.health['tracker']}/metrics", timeout=5).text
    except httpx.TransportError:
        return -1.0
    line = next(
        (line for line in text.splitlines() if line.startswith("bems_table_deadline_scan_seconds_count")), "x 0"
    )
    return float(line.split()[1])


def test_a_stuck_invoice_raises_one_alert_at_zero_traffic_across_a_restart(running_cell: StartCell) -> None:
    """Killed before the deadline, restarted, then silence: one alert; when the invoice moves on, one cleared."""
    running = running_cell("tracker", "sink", time_scale=DAY_SECONDS / 8)  # a day lasts eight seconds
    running.append([event("ingestion", 1)])
    running.settle(1)

    running.kill("tracker")
    raised = eventually(lambda: alerts(running), bool)
    for _ in range(2):  # and once more, with the alert out
        seen = scans(running.cell)
        eventually(lambda seen=seen: scans(running.cell), lambda now, seen=seen: now >= max(seen, 0) + 3)  # type: ignore[misc]
        assert alerts(running) == raised
        running.kill("tracker")
        eventually(lambda: scans(running.cell), lambda now: now < 0)

    assert [(alert["kind"], alert["stage"], alert["invoice_amount"]) for alert in raised] == [
        ("stuck", "ingestion", "120.50")
    ]
    stuck = eventually(running.reader.stuck, bool)
    assert [row.invoice_id for row in stuck] == ["invoice-1"]

    running.append([event("posting", 2)])
    cleared = eventually(lambda: alerts(running), lambda found: len(found) == 2)[1]

    assert (cleared["kind"], cleared["stage"], cleared["moved_to"]) == ("cleared", "ingestion", "posting")
    assert cleared["deadline"] == raised[0]["deadline"]
    eventually(running.reader.stuck, lambda rows: not rows)
    assert len(alerts(running)) == 2


def test_an_event_written_in_a_transaction_does_not_silence_the_watch(running_cell: StartCell) -> None:
    """The marker behind it takes an offset that nobody ever handles; the alert comes all the same."""
    running = running_cell("tracker", "sink", time_scale=DAY_SECONDS / 2)  # a day lasts two seconds
    producer = Producer({"bootstrap.servers": running.bootstrap, "transactional.id": "upstream"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(running.catalogue.stage_topics["ingestion"], event("ingestion", 1), b"invoice-1")
    producer.commit_transaction(30)

    raised = eventually(lambda: alerts(running), bool)

    assert [(alert["kind"], alert["invoice_id"]) for alert in raised] == [("stuck", "invoice-1")]
