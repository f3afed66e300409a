"""`bems ledger repair`: the sink's own work once more, for records that the log holds and the store lacks.

The composition root of a repair. Not here: the repair (flows/ledger/repair.py), the journey (flows/store.py).
"""

import asyncio
import sys
from contextlib import closing
from functools import partial
from typing import Any, Final

import click
from prometheus_client import CollectorRegistry

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.adapters.stores import open_store
from bems_streams.cli.ledger_options import Books, CannotVerifyError, MomentType, books, ledger_options
from bems_streams.cli.ledger_screen import print_verdict
from bems_streams.cli.screen import screen
from bems_streams.cli.who import operator, run_name
from bems_streams.domain.accounting import AuditDocument, encode_accounting
from bems_streams.domain.event import instant
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.ledger.evidence import Evidence
from bems_streams.flows.ledger.repair import repair_all, repairable
from bems_streams.flows.store import SinkParts, Store
from bems_streams.metrics import AgentMetrics
from bems_streams.ports import STORE_AGENT, EventStore, OutRecord, PublishFailedError

ACTION: Final = "repair"
CLOSE_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 30.0


@click.command(name="repair", short_help="Store again what the log holds and the store lacks.")
@click.option("--since", "since_us", type=MomentType(), default=0, help="What was accepted from this time on. [all]")
@click.option("--dry-run", is_flag=True, help="Only say which offsets would be taken again.")
@click.option("--who", help="Who does this, for the audit. [BEMS_OPERATOR, the user and the host]")
@ledger_options
def repair_command(*, since_us: int, dry_run: bool, who: str | None, **where: Any) -> None:
    """Verify, take every record again that the log holds and the store lacks, and verify once more.

    Rows come back under the same receipt; ledger entries of the sink that were never written are written. Safe beside a
    running sink, and safe to repeat. Changed amounts, and the accounts of other agents, stay as they are.

    Exit code 0: closed. 1: not closed. 2: broker, store or catalogue could not be read.
    """
    console = screen()
    with books(**where) as opened:
        opened.require_store()
        ranges = repairable(opened.reconciler.verify(since_us).findings)
        offsets = sum(end - start for own in ranges.values() for start, end in own)
        for (topic, partition), own in sorted(ranges.items()):
            for start, end in own:
                console.print(f"{topic}/{partition}: offsets {start} to {end - 1}")
        console.print(f"{offsets:,} offsets {'would be' if dry_run else 'are'} taken again")
        if dry_run:
            return
        if ranges:
            try:
                taken = asyncio.run(_repair(opened, since_us, offsets, who or operator(opened.settings)))
            except PublishFailedError as error:
                raise CannotVerifyError(f"{error}; run it again: what is done stays done") from error
            console.print(f"{taken:,} records taken; the others are markers, or retention has deleted them")
        result = opened.reconciler.verify(since_us)
        print_verdict(console, result, opened.settings.cell)
    if not result.closed:
        sys.exit(1)


async def _repair(opened: Books, since_us: int, offsets: int, who: str) -> int:
    """With an audit entry before and after."""
    settings, clock = opened.settings, SystemClock()
    run = run_name(clock.now_us())
    publisher = KafkaProducer(ProducerConfig(settings.bootstrap, "bems-repair"))

    async def audit(step: str, result: dict[str, int]) -> None:
        document = AuditDocument(
            run=run,
            action=ACTION,
            step=step,
            who=who,
            at=instant(clock.now_us()),
            agent=STORE_AGENT,
            filter={},
            prediction={"offsets": offsets},
            result=result,
            cell=settings.cell,
            region=settings.region,
        )
        await publisher.publish([OutRecord(opened.catalogue.audit_topic, run.encode(), encode_accounting(document))])

    try:
        await audit("started", {})
        with closing(open_store(opened.store_url)) as store:
            evidence = Evidence(opened.log, opened.reader, opened.scope.stage_of)
            verify = partial(opened.reconciler.verify, since_us)
            taken = await repair_all(verify, evidence, _sink(opened, publisher, store))
        await audit("finished", {"records": taken})
    finally:
        await publisher.close(CLOSE_SECONDS)
    return taken


def _sink(opened: Books, publisher: KafkaProducer, store: EventStore) -> Store:
    settings, catalogue, clock = opened.settings, opened.catalogue, SystemClock()
    metrics = AgentMetrics(CollectorRegistry(), STORE_AGENT)
    waited_seconds = 0.0

    async def pause(seconds: float) -> None:
        nonlocal waited_seconds
        waited_seconds += seconds
        if waited_seconds > PATIENCE_SECONDS:
            raise CannotVerifyError("the store takes nothing now: bring it back, then run this again")
        await asyncio.sleep(seconds)

    return Store(
        SinkParts(
            stage_of=opened.scope.stage_of,
            status_topic=catalogue.status_topic,
            alerts_topic=catalogue.alerts_topic,
            ledger_topic=catalogue.ledger_topic,
            lanes=Lanes.of(catalogue, STORE_AGENT, settings.cell, settings.region),
            clock=clock,
            publisher=publisher,
            store=store,
            breaker=Breaker(clock, metrics, pause),
            metrics=metrics,
        )
    )
