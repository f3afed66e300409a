"""`bems simulate`: made-up but realistic invoices, through a gateway.

Not here: what invoices do (local/simulator*.py), sending (local/simulation.py), showing (local/feed_report.py).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.cli.feed_options import end, feed_options, file_errors, run
from bems_streams.config import Settings
from bems_streams.domain.event import microseconds
from bems_streams.local.feed_report import FeedReport, write_json
from bems_streams.local.feed_stop import stop_on_signals
from bems_streams.local.feed_types import FeedOptions, Outcome
from bems_streams.local.simulation import (
    Compressed,
    FlatOut,
    Pace,
    PerSecond,
    Poisoning,
    SimulationSummary,
    run_simulation,
)
from bems_streams.local.simulator import Scenario, fit_to_events, ground_truth
from bems_streams.local.simulator_calendar import DAY_US
from bems_streams.local.simulator_payloads import CURRENCIES
from bems_streams.local.simulator_poison import poison
from bems_streams.ports import OutRecord
from bems_streams.topics import CatalogueError, load_catalogue

MONTH_IN_A_MINUTE: Final = 43_200.0
FLUSH_SECONDS: Final = 10.0
USUAL: Final = Scenario(seed=1, start_us=0)
SHARE: Final = click.FloatRange(0, 1)
ABOVE_0: Final = click.FloatRange(0, min_open=True)


@click.command(name="simulate", short_help="Send made-up but realistic invoices through a gateway.")
@click.option("--invoices", type=click.IntRange(1), help=f"How many.  [default: {USUAL.invoices}]")
@click.option("--events", type=click.IntRange(1), help="Instead: as many whole invoices as fit into so many events.")
@click.option("--days", type=ABOVE_0, default=USUAL.days, show_default=True, help="Simulated time from start to end.")
@click.option("--start", type=click.DateTime(), help="Simulated start, UTC.  [default: such that the month ends now]")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, start: same bytes.")
@click.option(
    "--compress", type=ABOVE_0, help="Simulated seconds in one second.  [default: 43200, a month in a minute]"
)
@click.option("--rate", type=click.FloatRange(0), help="Instead: events per second; 0 for as many as get through.")
@click.option("--surge", type=ABOVE_0, default=USUAL.surge, show_default=True, help="Rush of the last 3 working days.")
@click.option("--closing-day", type=click.IntRange(1, 31), help="Day the month closes.  [default: now; else the last]")
@click.option("--late", type=SHARE, default=USUAL.late, show_default=True, help="Share of events that come late.")
@click.option("--duplicate", type=SHARE, default=USUAL.duplicate, show_default=True, help="Share sent twice.")
@click.option("--reordered", type=SHARE, default=USUAL.reordered, show_default=True, help="Share sent out of order.")
@click.option(
    "--invalid", type=SHARE, default=USUAL.invalid, show_default=True, help="Share first sent with a mistake."
)
@click.option("--skipped", type=SHARE, default=USUAL.skipped, show_default=True, help="Invoices that skip a stage.")
@click.option("--stuck", type=SHARE, default=USUAL.stuck, show_default=True, help="Invoices that stop for good.")
@click.option(
    "--currency", "currencies", type=click.Choice(CURRENCIES), multiple=True, default=CURRENCIES, help="Only these."
)
@click.option("--legal-entities", type=click.IntRange(1), default=USUAL.legal_entities, show_default=True)
@click.option("--payees", type=click.IntRange(1), default=USUAL.payees, show_default=True)
@click.option("--poison", "bad", type=click.IntRange(0), default=0, help="Bad records straight to the stage topics.")
@click.option("--bootstrap", help="Kafka bootstrap servers, host:port[,...]; needed for --poison.")
@click.option("--catalogue", type=click.Path(path_type=Path), help="Path of topics.yaml. [BEMS_CATALOGUE]")
@feed_options
def command(
    *,
    invoices: int | None,
    events: int | None,
    start: datetime | None,
    closing_day: int | None,
    compress: float | None,
    rate: float | None,
    bad: int,
    bootstrap: str | None,
    catalogue: Path | None,
    url: str,
    connections: int,
    batch: int,
    give_up_after: float,
    json_path: Path | None,
    rejects: Path | None,
    show: int,
    **shape: Any,
) -> None:
    """Send made-up but realistic invoices through a gateway: about 14 events each, over four stages.

    Invoices that do not get stuck are closed when --days are over. Payloads with a mistake are refused by the
    gateway, as they should be, and count as rejected.
    """
    if events and invoices:
        raise click.UsageError("--events and --invoices exclude each other; give one of them")
    pace = _pace(rate, compress)
    scenario = Scenario(
        start_us=_start_us(start, shape["days"], pace),
        closing_day=closing_day or (31 if start else datetime.now(UTC).day),
        invoices=invoices or USUAL.invoices,
        **shape,
    )
    scenario = fit_to_events(scenario, events) if events else scenario
    options = FeedOptions(connections=connections, batch_events=batch, give_up_after_seconds=give_up_after)
    poisoning = _poisoning(bad, scenario, bootstrap, catalogue)
    with file_errors():
        report = FeedReport(
            f"{scenario.invoices:,} invoices", total=scenario.expected_events, rejects=rejects, shown=show
        )
        with report:
            summary = run(_simulate(scenario, pace, url, options, report, poisoning))
        report.print(summary.feed, _tables(summary, report), Console())
        if json_path:
            write_json(json_path, summary.feed, _extra(scenario, summary, report))
    end(summary.feed, "See that the gateway is up and takes events, then simulate again")
    if summary.poison.failed:
        raise click.ClickException(
            f"{summary.poison.failed} bad records are not proven written: {summary.poison.reason}"
        )


def _pace(rate: float | None, compress: float | None) -> Pace:
    if rate is not None and compress is not None:
        raise click.UsageError("--rate and --compress exclude each other; give one of them")
    if rate is None:
        return Compressed(compress or MONTH_IN_A_MINUTE)
    return PerSecond(rate) if rate else FlatOut()


def _start_us(start: datetime | None, days: float, pace: Pace) -> int:
    """By default simulated time reaches the wall clock when the scenario ends, so that no event lies in the future."""
    if start is not None:
        return microseconds(start.replace(tzinfo=UTC))
    passing = 1 / pace.factor if isinstance(pace, Compressed) else 0.0
    return int(time.time() * 1e6 - days * DAY_US * (1.0 - passing))


async def _simulate(
    scenario: Scenario,
    pace: Pace,
    url: str,
    options: FeedOptions,
    report: FeedReport,
    poisoning: tuple[ProducerConfig, Sequence[OutRecord]] | None,
) -> SimulationSummary:
    producer = KafkaProducer(poisoning[0]) if poisoning else None
    with stop_on_signals() as stop:
        try:
            return await run_simulation(
                scenario,
                pace,
                url,
                options,
                poisoning=Poisoning(producer, poisoning[1]) if producer and poisoning else None,
                stop=stop,
                on_progress=lambda progress: report.progressed(progress, completed=progress.offered),
                on_refused=report.refused,
            )
        finally:
            if producer is not None:
                await producer.close(FLUSH_SECONDS)


def _poisoning(
    records: int, scenario: Scenario, bootstrap: str | None, catalogue: Path | None
) -> tuple[ProducerConfig, Sequence[OutRecord]] | None:
    """Where to write which bad records. Asks for --bootstrap, so that nobody poisons a cell by mistake."""
    if not records:
        return None
    if bootstrap is None:
        raise click.UsageError("--poison writes past the gateway: say where with --bootstrap host:port")
    settings = Settings()
    try:
        topics = load_catalogue(catalogue or settings.catalogue, settings.overrides).stage_topics
    except CatalogueError as error:
        raise click.ClickException(str(error)) from error
    return ProducerConfig(bootstrap, "bems-simulate"), [*poison(scenario.run_id, scenario.seed, records, topics)]


def _tables(summary: SimulationSummary, report: FeedReport) -> Sequence[Table]:
    kinds = Table("kind", title="how they were sent")
    for heading in ("offered", "accepted", "rejected", "given up"):
        kinds.add_column(heading, justify="right")
    for kind, counts in _by_kind(summary, report).items():
        kinds.add_row(kind, *(f"{number:,}" for number in counts.values()))
    if not summary.poison.written and not summary.poison.failed:
        return (kinds,)
    bad = Table("bad records written past the gateway", "not proven written")
    bad.add_row(f"{summary.poison.written:,}", f"{summary.poison.failed:,}")
    return kinds, bad


def _by_kind(summary: SimulationSummary, report: FeedReport) -> dict[str, dict[str, int]]:
    result = {}
    for kind, offered in sorted(summary.offered.items()):
        rejected = report.refusals[kind, Outcome.REJECTED]
        gave_up = report.refusals[kind, Outcome.GAVE_UP]
        accepted = offered - rejected - gave_up
        result[str(kind)] = {"offered": offered, "accepted": accepted, "rejected": rejected, "gave_up": gave_up}
    return result


def _extra(scenario: Scenario, summary: SimulationSummary, report: FeedReport) -> dict[str, Any]:
    """What is true of the scenario, beside what happened to it."""
    return {
        "scenario": asdict(scenario),
        "kinds": _by_kind(summary, report),
        "ground_truth": asdict(ground_truth(scenario)),
        "poison": asdict(summary.poison),
    }
