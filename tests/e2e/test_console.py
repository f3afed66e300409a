"""The console page in a real browser, served by a real process from a real store."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bems_streams.adapters.stores import default_store_url, open_store
from bems_streams.health import Health, HealthServer
from bems_streams.ports import Coordinates, EventStore, RetryRow, StoreBatch
from tests.e2e.conftest import ConsoleProcess, eventually
from tests.e2e.console_data import HOSTILE_ID, SECOND_US, STAGES, Cell, realistic


def now_us() -> int:
    """The wall clock: the console process and the browser use it too."""
    return time.time_ns() // 1000


class Page:
    """What a person sees and does."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        browser.get_log("browser")  # type: ignore[no-untyped-call]  # drop what earlier pages logged
        browser.get("about:blank")
        browser.get(url)
        eventually(lambda: self.state not in {"connecting", None}, "the page hears from the console")

    @property
    def state(self) -> str | None:
        """live, quiet, empty, lost, away, slow or connecting."""
        found: str | None = self.browser.execute_script("return document.body.dataset.state")
        return found

    def text(self, selector: str) -> str:
        """The text that an element shows, with plain spaces."""
        return next(iter(self.texts(selector)), "")

    def texts(self, selector: str) -> list[str]:
        """The texts of all visible elements that match."""
        found: list[str] = self.browser.execute_script(
            "return Array.from(document.querySelectorAll(arguments[0])).filter((node) => node.checkVisibility())"
            ".map((node) => node.innerText ?? node.textContent)",
            selector,
        )
        return [text.replace("\u00a0", " ").strip() for text in found]

    def click(self, selector: str) -> None:
        """Click the first element that matches."""
        self.browser.find_element(By.CSS_SELECTOR, selector).click()

    def type(self, *keys: str) -> None:
        """Type into whatever has the focus."""
        self.browser.switch_to.active_element.send_keys(*keys)

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self.browser.execute_script(script)

    def errors(self) -> list[str]:
        """What the browser complained of since the page was opened."""
        entries = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """The store of this test's cell, still empty."""
    opened = open_store(default_store_url(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def console(tmp_path: Path, store: EventStore) -> Iterator[ConsoleProcess]:
    """A console over that store; it ends with status 0 when asked to."""
    process = ConsoleProcess(tmp_path)
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="module")
def busy_cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    """A cell with traffic, for the tests that only look."""
    folder = tmp_path_factory.mktemp("busy-cell")
    store = open_store(default_store_url(folder))
    process = ConsoleProcess(folder)
    store.write(realistic(now_us()))
    yield process
    assert process.stop() == 0
    store.close()


def opened(browser: Chrome, console: ConsoleProcess) -> Page:
    """The page, once it shows the realistic set."""
    page = Page(browser, console.url)
    eventually(lambda: page.text("#stored") == "5,173", "the page shows what is stored")
    return page


@pytest.fixture
def page(browser: Chrome, busy_cell: ConsoleProcess) -> Page:
    """The page of the busy cell, freshly opened."""
    return opened(browser, busy_cell)


def test_page_shows_the_cell_at_a_glance(page: Page, tmp_path: Path) -> None:
    """Ledger, pace, visibility, stuck count, and a card per stage in journey order; and the browser is content."""
    # given the page, seen by a person
    page.browser.save_screenshot(str(tmp_path / "console.png"))

    # then the ledger adds up
    figures = [
        int(page.text(f"#{name}").replace(",", "")) for name in ("accepted", "stored", "duplicates", "dead-lettered")
    ]
    assert figures == [5188, 5173, 12, 3]

    # and the stages stand in order, with pace, value and stuck count
    assert [name.lower() for name in page.texts(".stage h3")] == list(STAGES)
    assert float(page.text("#per-second")) > 0
    assert all(re.fullmatch(r"\d+\.\d", pace) for pace in page.texts(".stage .pace .big"))
    assert page.texts(".stage .invoices .figure") == ["160", "324", "151", "266"]
    assert page.texts(".stage:first-child > .value .sum > :last-child")[0] == "13,966,307.66"
    assert page.texts(".stuck-badge strong") == ["21 stuck", "29 stuck", "11 stuck"]
    assert page.text("#stuck-count") == "61"
    assert page.text("#p99").endswith(" ms")
    assert page.text("#cell") == "test-cell"
    assert page.state == "live"
    assert page.errors() == []


def test_dead_letters_show_place_code_and_reason(page: Page) -> None:
    """Newest first, with where the record stands in the log and why it was given up."""
    rows = page.texts("#dead tbody tr")
    assert len(rows) == 3
    assert "invoices.ingestion / 3 / 100" in rows[0]
    assert "invalid_event" in rows[0]
    assert "at most 6 decimal places" in rows[0]


def test_stuck_table_sorts_by_any_column(page: Page) -> None:
    """A click on a head sorts, a second one turns the order; amounts sort exactly within their currency."""

    def amounts() -> list[tuple[str, float]]:
        cells = page.texts("#stuck td[data-column=amount]")
        return [(text[:3], float(text[4:].replace(",", ""))) for text in cells]

    # given all rows
    page.click("#stuck-more")
    assert len(page.texts("#stuck tbody tr")) == 61

    # when sorted by amount
    page.click("#stuck th[data-column=amount] button")

    # then
    found = amounts()
    assert page.run("return document.querySelector('#stuck th[data-column=amount]').ariaSort") == "descending"
    assert found == sorted(found, key=lambda row: ([-ord(letter) for letter in row[0]], row[1]), reverse=True)

    # when turned
    page.click("#stuck th[data-column=amount] button")

    # then
    assert amounts() == found[::-1]


def test_stage_filters_the_stuck_table_and_its_sums(page: Page) -> None:
    """The stuck count of a stage leads to its stuck invoices and their money."""
    # when
    page.click(".stage:nth-child(3) .stuck-badge")

    # then
    assert set(page.texts("#stuck td[data-column=stage]")) == {"authorization"}
    assert page.text("#stuck-note") == (
        "authorization: 11 · EUR 1,948,567.14 · GBP 202,516.33 · JPY 86,273,895 · USD 826,563.78"
    )


def test_search_opens_the_timeline(page: Page) -> None:
    """`/`, an id, Enter: the drawer shows facts, the picture, every event; Escape closes; the address can be shared."""
    # when
    page.type("/")
    page.type("INV-2026-000029", Keys.ENTER)
    eventually(lambda: page.text("#drawer .picture") != "", "the timeline is drawn")

    # then
    assert page.text("#drawer-title") == "INV-2026-000029"
    assert "stuck" in page.text("#drawer .facts")
    assert page.texts("#drawer .lane-name") == list(STAGES)
    events = page.run("return document.querySelectorAll('#drawer circle.event').length")
    assert events == len(page.texts("#drawer [aria-label='Events in business order'] tbody tr")) > 0
    assert page.run("return document.querySelectorAll('#drawer rect.overdue').length") == 1
    assert page.browser.current_url.endswith("#invoice/INV-2026-000029")

    # when
    page.type(Keys.ESCAPE)

    # then
    eventually(lambda: not page.run("return document.getElementById('drawer').open"), "the drawer closes")
    assert "#invoice" not in page.browser.current_url
    assert page.errors() == []


def test_unknown_invoice_says_what_to_check(page: Page) -> None:
    """A search without a result is an answer, not an empty drawer."""
    # when
    page.type("/")
    page.type("inv-unknown", Keys.ENTER)

    # then
    eventually(lambda: "Nothing about invoice inv-unknown" in page.text("#drawer-message"), "the page says so")
    assert "case-sensitive" in page.text("#drawer-message")


def test_page_updates_itself_when_a_row_is_written(browser: Chrome, console: ConsoleProcess, store: EventStore) -> None:
    """A new event and a newly stuck invoice appear without a reload, while the viewer's place is kept."""
    store.write(realistic(now_us()))
    page = opened(browser, console)

    # given a page that would lose this mark if it were loaded anew, and a focused row
    page.run("window.mark = 1; document.querySelector('#stuck tbody .link').focus()")
    cell = Cell(now_us())
    stuck = cell.event("INV-NEW", "ingestion", now_us() - 30 * 86_400 * SECOND_US)._replace(event_id="new-1")
    facts: dict[str, str | None] = {"invoice_amount": "1234567.80", "currency": "EUR", "payee_code": "P-NEW"}
    state = cell.state("INV-NEW", "ingestion", stuck.accepted_us, [stuck], facts)

    # when
    store.write(StoreBatch(events=[stuck._replace(at=stuck.at._replace(partition=9))], invoices=[state]))

    # then
    eventually(lambda: page.text("#stored") == "5,174", "the event is counted")
    eventually(lambda: page.texts("#stuck tbody .link")[0] == "INV-NEW", "the longest-stuck invoice leads the table")
    assert "EUR 1,234,567.80" in page.text("#stuck tbody tr")
    assert page.text("#stuck-count") == "62"
    assert page.run("return window.mark") == 1
    assert page.run("return document.activeElement.textContent") == "INV-2026-000029"
    assert page.errors() == []


def test_markup_in_an_invoice_id_stays_text(page: Page) -> None:
    """An id, a payee and a reason made of markup are shown as they are and run nothing, in tables and drawer alike."""
    # given the hostile rows on the page
    page.click("#stuck-more")
    assert HOSTILE_ID in page.texts("#stuck tbody .link")
    assert "<b>bold</b>" in page.text("#stuck tbody")
    assert "<script>window.hacked=1</script>" in page.text("#dead tbody")

    # when its timeline is opened, by search and with the id in the address
    page.type("/")
    page.type(HOSTILE_ID, Keys.ENTER)
    eventually(lambda: "Events (1)" in page.text("#drawer-body"), "the timeline is drawn")

    # then
    assert page.text("#drawer-title") == HOSTILE_ID
    assert page.run("return window.hacked ?? null") is None
    assert page.run("return document.querySelectorAll('main img, dialog img, main b, main script').length") == 0
    assert page.errors() == []


def test_lost_server_is_said_plainly_and_found_again(browser: Chrome, store: EventStore, tmp_path: Path) -> None:
    """Without the server the page says so with the age of what it shows; when the server is back, so is the page."""
    # given a live page
    store.write(realistic(now_us()))
    console = ConsoleProcess(tmp_path)
    page = Page(browser, console.url)
    eventually(lambda: page.state == "live", "the page is live")

    # when the server goes
    assert console.stop() == 0

    # then
    eventually(lambda: page.state == "lost", "the page notices")
    assert page.text("#pill") == "Not live"
    assert "does not answer" in page.text("#notice")
    assert re.search(r"Shown as of .* \d+ s old", page.text("#notice-age"))
    assert "not live" in page.browser.title
    page.browser.save_screenshot(str(tmp_path / "lost.png"))

    # when it is back
    again = ConsoleProcess(tmp_path, port=console.port)

    # then
    eventually(lambda: page.state == "live", "the page reconnects by itself")
    assert page.text("#notice") == ""
    assert again.stop() == 0


def test_missing_store_is_said_plainly(browser: Chrome, tmp_path: Path) -> None:
    """A console started before the sink names the store it waits for, and shows it once it appears."""
    # given no store
    console = ConsoleProcess(tmp_path)
    page = Page(browser, console.url)

    # then
    assert page.state == "away"
    assert "There is no store at" in page.text("#notice")
    assert "bems worker sink" in page.text("#notice")

    # when the store appears
    store = open_store(default_store_url(tmp_path))

    # then
    eventually(lambda: page.state == "empty", "the page finds the store")
    assert console.stop() == 0
    store.close()


def test_empty_cell_tells_how_to_send_the_first_event(
    browser: Chrome, console: ConsoleProcess, store: EventStore, tmp_path: Path
) -> None:
    """A new user sees the command that sends an event; it gives way to figures when the event is there."""
    # given
    page = Page(browser, console.url)
    assert "curl -X POST http://127.0.0.1:8080/v1/ingestion/events" in page.text("#empty")
    page.browser.save_screenshot(str(tmp_path / "empty.png"))

    # when
    store.write(StoreBatch(events=[Cell(now_us()).event("INV-1", "ingestion", now_us())]))

    # then
    eventually(lambda: page.text("#empty") == "", "the hint goes")
    assert page.text("#stored") == "1"
    assert page.errors() == []

    # and no zero is claimed while nobody tracks invoices
    assert page.text("#stuck-count") == "–"  # noqa: RUF001
    assert "bems worker tracker" in page.text("#stuck-none")


def test_watched_process_that_is_gone_is_named_on_top(browser: Chrome, store: EventStore, tmp_path: Path) -> None:
    """Figures that a dead process no longer feeds are not left to pass for the whole truth."""
    # given a live cell, one of whose processes does not answer
    store.write(realistic(now_us()))
    with socket.create_server(("127.0.0.1", 0)) as unused:
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}"
    console = ConsoleProcess(tmp_path, watch=gone)

    # when
    page = Page(browser, console.url)

    # then
    eventually(lambda: page.state == "degraded", "the page says so")
    assert f"not reachable at {gone}" in page.text("#notice")
    assert "not ready" in page.text("#roles")
    assert console.stop() == 0


def test_the_ledgers_standing_is_on_the_page(browser: Chrome, store: EventStore, tmp_path: Path) -> None:
    """Closed, beside the processes; when it is not, on top of the page, with the command that names the events."""
    # given a watched ledger that is closed
    store.write(realistic(now_us()))
    wrong: list[str] = []
    health = Health("ledger", CollectorRegistry(), lambda: wrong[0] if wrong else None)
    ledger = HealthServer(health, "127.0.0.1", 0)
    ledger.start()
    console = ConsoleProcess(tmp_path, watch=ledger.address)
    page = Page(browser, console.url)
    eventually(lambda: page.text("#roles") == "ledger\nclosed", "the page shows it")
    assert page.state == "live"

    # when
    wrong.append("the ledger is not closed: 3 events missing; run: bems ledger verify")

    # then
    eventually(lambda: page.state == "degraded", "the page says so")
    assert "Not every event is accounted for." in page.text("#notice")
    assert "3 events missing; run: bems ledger verify" in page.text("#notice")
    assert "3 events missing" in page.text("#roles")
    page.browser.save_screenshot(str(tmp_path / "ledger.png"))
    assert console.stop() == 0
    ledger.stop()


def test_what_waits_in_a_lane_is_part_of_the_equation(
    browser: Chrome, console: ConsoleProcess, store: EventStore
) -> None:
    """Shown while something does, so that the sum is always right; not at all while nothing does."""
    # given nothing in a lane
    store.write(realistic(now_us()))
    page = Page(browser, console.url)
    eventually(lambda: page.text("#dead-lettered") == "3", "the figures are there")
    assert page.text("#retrying-figure") == ""

    # when
    at = Coordinates("invoices.ingestion", 0, 10_000_000)
    store.write(StoreBatch(retrying=[RetryRow(at, "sink", "store_refused", "no", 1, 1, now_us(), now_us())]))

    # then
    eventually(lambda: page.text("#retrying") == "1", "the page shows it")
    names = ("stored", "duplicates", "dead-lettered", "retrying")
    figures = [int(page.text(f"#{name}").replace(",", "")) for name in names]
    assert sum(figures) == int(page.text("#accepted").replace(",", ""))


def test_silence_is_not_shown_as_traffic(browser: Chrome, console: ConsoleProcess, store: EventStore) -> None:
    """When nothing has been stored for a while the page says since when, though it is live."""
    # given an event stored five minutes ago
    then_us = now_us() - 300 * SECOND_US
    store.write(StoreBatch(events=[Cell(then_us).event("INV-1", "ingestion", then_us)._replace(stored_us=then_us)]))

    # when
    page = Page(browser, console.url)

    # then
    eventually(lambda: page.state == "quiet", "the page notices the silence")
    assert re.search(r"Newest event stored 5 min( \d+ s)? ago", page.text("#notice-age"))


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_page_fits_any_width(page: Page, tmp_path: Path, width: int) -> None:
    """Nothing is cut off or scrolls sideways, from a phone to a desk."""
    # when
    metrics = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.run("location.hash = '#invoice/INV-2026-000029'")
        eventually(lambda: page.text("#drawer .picture") != "", "the timeline is drawn")

        # then
        page.browser.save_screenshot(str(tmp_path / f"width-{width}.png"))
        assert page.run("const e = document.documentElement; return e.scrollWidth - e.clientWidth") == 0
        assert page.run("const d = document.getElementById('drawer'); return d.scrollWidth - d.clientWidth") == 0
        assert page.run("return document.getElementById('drawer').getBoundingClientRect().left") >= 0
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
