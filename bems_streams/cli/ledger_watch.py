"""`bems ledger watch`: verifies all the time, and tells metrics, probes and the log when the ledger is not closed.

Not here: the verification (flows/reconcile.py), what is looked at when (flows/ledger/rounds.py).
"""

import logging
import os
import signal
import threading
import time
from typing import Any, Final

import click
from prometheus_client import CollectorRegistry

from bems_streams.adapters.clock import SystemClock
from bems_streams.cli.ledger_options import books, ledger_options
from bems_streams.cli.screen import plain
from bems_streams.domain.event import instant
from bems_streams.flows.ledger.findings import Finding, Kind
from bems_streams.flows.ledger.rounds import Rounds, Standing
from bems_streams.flows.reconcile import Scope
from bems_streams.health import Health, HealthServer
from bems_streams.logs import setup_logs
from bems_streams.metrics import LedgerMetrics
from bems_streams.ports import Clock, LogUnavailableError, StoreUnavailableError

logger = logging.getLogger(__name__)

STALE_US: Final = 300_000_000
NICE: Final = 10
"""It verifies with the time that handling events leaves: a look takes seconds of a processor at the peak rate."""
MOST_LINES: Final = 100


@click.command(name="watch", short_help="Verify all the time: metrics, /readyz, a log line per missing event.")
@click.option(
    "--every", "every_seconds", type=click.FloatRange(1), default=30.0, show_default=True, help="Seconds between looks."
)
@click.option(
    "--health-port", type=click.IntRange(0, 65535), default=0, help="/metrics, /healthz, /readyz. 0: a free one."
)
@ledger_options
def watch(*, every_seconds: float, health_port: int, **where: Any) -> None:
    """Verify the newest minutes on every look, and everything older that the log holds in turn.

    /readyz answers 503 while the ledger is not closed, with the reason. SIGTERM ends it after the look under way.
    """
    os.nice(NICE)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    with books(**where) as opened:
        setup_logs(opened.settings.log_level)
        registry, clock = CollectorRegistry(), SystemClock()
        rounds = Rounds(opened.reconciler, clock, stop.is_set)
        patrol = Patrol(rounds, clock, LedgerMetrics(registry), opened.scope, opened.settings.cell)
        server = HealthServer(Health("ledger", registry, patrol.not_ready), opened.settings.host, health_port)
        server.start()
        click.echo(f"ledger: {server.address}/readyz", err=True)
        try:
            while not stop.is_set():
                patrol.look()
                stop.wait(every_seconds)
        finally:
            server.stop()


class Patrol:
    """Looks, and tells. `not_ready` may be called from any thread."""

    def __init__(self, rounds: Rounds, clock: Clock, metrics: LedgerMetrics, scope: Scope, cell: str) -> None:
        self._rounds = rounds
        self._clock = clock
        self._metrics = metrics
        self._scope = scope
        self._cell = cell
        self._standing = Standing()
        self._trouble: str | None = "the first look is under way"
        self._said: set[tuple[object, ...]] = set()

    def not_ready(self) -> str | None:
        """What is wrong with the ledger; or that nobody knows."""
        age_us = self._clock.now_us() - self._standing.verified_us
        if self._trouble is not None and (not self._standing.looks or age_us > STALE_US):
            since = f" since {instant(self._standing.verified_us):%H:%M:%S}Z" if self._standing.looks else ""
            return f"the ledger was not verified{since}: {self._trouble}"
        return self._standing.reason

    def look(self) -> None:
        """Once. A broker or a store that is away is said; the last look stands until it is too old."""
        began = time.monotonic()
        try:
            standing = self._rounds.look()
        except (LogUnavailableError, StoreUnavailableError) as error:
            self._trouble = str(error)
            logger.warning("the ledger cannot be verified now: %s", error)
            return
        self._standing, self._trouble = standing, None
        self._metrics.verify_seconds.observe(time.monotonic() - began)
        self._metrics.last_verified.set(standing.verified_us / 1e6)
        self._metrics.whole_verified.set(standing.whole_us / 1e6)
        self._measure(standing)
        self._say(standing)

    def _measure(self, standing: Standing) -> None:
        for agent, _ in self._scope.books:
            self._metrics.account(
                agent,
                unaccounted_ranges=standing.count(Kind.UNRECORDED, agent),
                miscounts=standing.count(Kind.MISCOUNTED, agent),
                value_differences=standing.count(Kind.CHANGED, agent),
            )
            for topic, stage in self._scope.stage_of.items():
                missing = standing.count(Kind.MISSING, agent, topic) + standing.count(Kind.LOG_LOST, agent, topic)
                self._metrics.events(agent, stage, missing, standing.count(Kind.OVERDUE, agent, topic))

    def _say(self, standing: Standing) -> None:
        """Each finding once, and once more when it comes back."""
        wrong = {found[:6]: found for found in standing.findings}
        new = [found for key, found in wrong.items() if key not in self._said]
        for found in new[:MOST_LINES]:
            logger.error(_line(found, self._cell))
        if len(new) > MOST_LINES:
            logger.error("%d findings more: bems ledger verify names them", len(new) - MOST_LINES)
        if self._said and not wrong:
            logger.info("the ledger is closed again")
        self._said = set(wrong)


def _line(found: Finding, cell: str) -> str:
    """The receipt first: lines of one template would count as repetitions."""
    event = "" if found.event_id is None else f" event {found.event_id} of invoice {found.invoice_id}:"
    return plain(f"{found.receipt(cell)} {found.kind.value} ({found.agent}):{event} {found.detail}").plain
