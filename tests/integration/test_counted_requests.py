"""What a cell asks of its broker and its store for a backlog of fixed size: counted, so that no clock is involved.

How a backlog is cut depends a little on the machine, so the bounds leave room; work per record, or per partition and
record, is far beyond them. They are all here:
"""

import sqlite3
from contextlib import closing
from typing import Final

import httpx

from tests.integration.conftest import StartCell
from tests.integration.log_files import appends
from tests.support import RunningCell, eventually, real_lines
from tests.unit.gateway_kit import JSON_HEADERS, encoded, event

REAL_EVENTS: Final = 9704
POSTED: Final = 2000
BATCH: Final = 100
OFFSETS: Final = "__consumer_offsets"
"""The broker's own topic: a commit of the sink is an append, a transaction of the tracker leaves a marker."""

PATH: Final = "/v1/ingestion/events"

AT_MOST: Final = {
    "appends of the gateway": 132,
    "transactions of the tracker": 1.5,
    "appends to the changelog": 12,
    "appends to the status topic": 12,
    "records in the ledger topic": 12,
    "transactions of the store": 2,
    "offset commits": 6,
}
"""Per 1,000 events. Of the gateway: 100 events a request, each spread over 12 partitions; of the others: a backlog."""

ADVICE: Final = (
    "more is asked for each event than before: coalesce it, or say in the commit what it is for and move AT_MOST"
)


def post_all(url: str) -> None:
    """In batches, one after the other."""
    numbers = list(range(POSTED))
    eventually(lambda: is_ready(url), bool)
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for first in range(0, POSTED, BATCH):
            events = [event(number, invoice_id=f"GW-{number}") for number in numbers[first : first + BATCH]]
            answer = client.post(PATH, content=encoded(events), headers=JSON_HEADERS)
            assert answer.status_code == 202, answer.text


def is_ready(url: str) -> bool:
    """Whether the gateway takes events."""
    try:
        return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def stop(running: RunningCell, *roles: str) -> None:
    """In good order."""
    for role in roles:
        running.cell.processes.stop(role, 30.0)


def store_transactions(running: RunningCell) -> int:
    """All rows of one have the same time."""
    path = running.cell.options.store.removeprefix("sqlite:///")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(DISTINCT stored_us) FROM events").fetchone()[0])


def test_a_backlog_asks_little_of_the_broker_and_the_store(running_cell: StartCell) -> None:
    """Appends and transactions per 1,000 events, at the gateway, the tracker and the sink."""
    running = running_cell("tracker", "sink", "gateway")
    stop(running, "tracker", "sink")
    catalogue, folder = running.catalogue, running.cell.options.state_dir
    url = running.cell.addresses.gateway
    assert url is not None
    post_all(url)
    accepted = sum(appends(folder, topic).batches for topic in catalogue.stage_topics.values())
    running.append(list(real_lines()))
    commits_before = appends(folder, OFFSETS)

    for role in ("tracker", "sink"):
        running.cell.processes.start_again(role)
    running.settle(REAL_EVENTS + POSTED)
    stop(running, "tracker", "sink")

    thousands = (REAL_EVENTS + POSTED) / 1000
    changelog = appends(folder, catalogue.changelog_topic("tracker"))
    commits = appends(folder, OFFSETS)
    counted = {
        "appends of the gateway": accepted / (POSTED / 1000),
        "transactions of the tracker": (commits.markers - commits_before.markers) / thousands,
        "appends to the changelog": changelog.batches / thousands,
        "appends to the status topic": appends(folder, catalogue.status_topic).batches / thousands,
        "records in the ledger topic": appends(folder, catalogue.ledger_topic).records / thousands,
        "transactions of the store": store_transactions(running) / thousands,
        "offset commits": (commits.batches - commits_before.batches) / thousands,
    }
    more = {what: round(value, 2) for what, value in counted.items() if not 0 < value <= AT_MOST[what]}
    assert not more, f"{more} of {counted} per 1,000 events; {ADVICE}"
