"""`bems dlq redrive`: dead letters sent again, after saying what would come of it.

The composition root of a redrive. Not here: any rule of it (flows/redrive/), its tables (dlq_redrive_screen.py).
"""

import asyncio
import sys
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import click

from bems_streams.adapters.kafka_group import KafkaGroup
from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.cli.dlq_options import Desk, desk, filter_options
from bems_streams.cli.dlq_progress import bars
from bems_streams.cli.dlq_redrive_screen import print_ending, print_plan
from bems_streams.cli.ledger_options import ledger_options
from bems_streams.cli.screen import screen
from bems_streams.cli.who import operator, run_name
from bems_streams.flows.dead_letters import Filter
from bems_streams.flows.redrive.audit import Run, Step, read_audit
from bems_streams.flows.redrive.journal import Journal
from bems_streams.flows.redrive.plan import Plan, spans_of
from bems_streams.flows.redrive.run import Ending, Limits, Parts, Redrive, Standing, ends_now
from bems_streams.flows.redrive.terms import MAX_REDRIVES, Terms
from bems_streams.local.feed_stop import stop_on_signals

CLOSE_SECONDS: Final = 5.0
DEFAULTS: Final = Limits()


class RateType(click.ParamType):
    """Records a second: `50` or `50/s`."""

    name = "N/s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Above 0."""
        try:
            rate = float(str(value).removesuffix("/s"))
        except ValueError:
            rate = 0.0
        if not 0 < rate < float("inf"):
            self.fail(f"{value!r} is no rate: write records a second, such as 50/s", param, ctx)
        return rate


@click.command(name="redrive")
@filter_options
@click.option("--dry-run", is_flag=True, help="Only say what would come of it: sends nothing, writes nothing.")
@click.option("--rate", type=RateType(), default=DEFAULTS.per_second, show_default=True, help="Send no faster.")
@click.option("--limit", type=click.IntRange(min=1), help="Send no more than this.")
@click.option(
    "--max-redrives",
    type=click.IntRange(min=1),
    default=MAX_REDRIVES,
    show_default=True,
    help="Leave out what was redriven so often already.",
)
@click.option(
    "--stop-relapse",
    type=click.FloatRange(0, 1),
    default=DEFAULTS.stop_relapse,
    show_default=True,
    help="Stop when more than this share fails again.",
)
@click.option(
    "--patience-seconds",
    type=click.FloatRange(min=1),
    default=DEFAULTS.patience_seconds,
    show_default=True,
    help="Pause when the agent handles nothing for so long.",
)
@click.option("--resume", "resumed", metavar="RUN", help="Go on with a run, with its filter and where it stopped.")
@click.option("--who", help="Who does this, for the audit. [BEMS_OPERATOR, the user and the host]")
@click.option("--yes", is_flag=True, help="Do not ask before sending.")
@ledger_options
def redrive(
    *,
    asked: Filter,
    dry_run: bool,
    rate: float,
    limit: int | None,
    max_redrives: int,
    stop_relapse: float,
    patience_seconds: float,
    resumed: str | None,
    who: str | None,
    yes: bool,
    **where: Any,
) -> None:
    """Send dead letters of one agent to it again, and tell what became of each.

    First today's code is run on each of them, without sending anything: the prediction. A record is sent once, however
    often it died; not at all when its agent has handled it since. Ctrl-C pauses; --resume goes on.

    Exit code 0: all came true. 1: something did not, or the run did not finish. 2: broker, store or catalogue could not
    be read.
    """
    limits = Limits(rate, stop_relapse, patience_seconds)
    with desk(**where) as opened:
        opened.check(asked)
        if dry_run and resumed is None:
            _foretell(opened, asked, max_redrives, limit, stop_relapse)
            return
        if resumed is None:
            terms = Terms(_named(opened, asked), asked, max_redrives, limit)
            opened.require_store()
            run = _new(opened, terms, who or operator(opened.settings))
        else:
            opened.require_store()
            run = _found(opened, resumed, asked, limit)
        plan = _plan(opened, run)
        print_plan(screen(), run, plan, stop_relapse)
        if dry_run or (resumed is None and not plan.to_send):
            return
        if not yes:
            _ask(plan, run)
        click.echo(
            f"run {run.name}; `bems dlq redrive --resume {run.name}` goes on with it, should it not finish", err=True
        )
        ending = asyncio.run(_send(opened, run, plan, limits))
    print_ending(screen(), ending)
    sys.exit(0 if ending.run.step is Step.FINISHED and ending.told is not None and not ending.told.differences else 1)


def _foretell(opened: Desk, asked: Filter, max_redrives: int, limit: int | None, stop_relapse: float) -> None:
    """What would come of it: for the agent named, else for every one."""
    opened.require_store()
    for number, agent in enumerate(opened.catalogue.agents if asked.agent is None else [asked.agent]):
        if number:
            click.echo()
        run = _new(opened, Terms(agent, replace(asked, agent=agent), max_redrives, limit), "")
        print_plan(screen(), run, _plan(opened, run), stop_relapse)


def _named(opened: Desk, asked: Filter) -> str:
    if asked.agent is None:
        agents = ", ".join(opened.catalogue.agents)
        raise click.UsageError(f"say whose dead letters with --agent: {agents}; `bems dlq list` counts them")
    return asked.agent


def _new(opened: Desk, terms: Terms, who: str) -> Run:
    """A run that begins now: what dies from here on is not its affair."""
    name = run_name(opened.clock.now_us())
    return Run(name, who, terms, ends_now(opened.letters, opened.log, opened.catalogue, terms.agent))


def _found(opened: Desk, name: str, asked: Filter, limit: int | None) -> Run:
    if asked != Filter() or limit is not None:
        raise click.UsageError("a resumed run keeps the filter and the limit it began with: leave them out")
    run = read_audit(opened.log, opened.catalogue).runs.get(name)
    if run is None:
        raise click.ClickException(f"no run {name!r}: `bems dlq runs` lists them")
    if run.step is Step.FINISHED:
        raise click.ClickException(f"run {name} is finished: start a new one for what has died since")
    return run


def _plan(opened: Desk, run: Run) -> Plan:
    spans = spans_of(run, opened.letters)
    journal = Journal(opened.log, run.name, run.ends_of({opened.catalogue.redrive_topic(run.terms.agent)}))
    total = sum(span.end - span.start for span in spans.values())
    with bars() as progress:
        tasks = {what: progress.add_task(f"{what} dead letters", total=total) for what in ("reading", "predicting")}
        return opened.planner(run.terms.agent).plan(
            run, spans, journal, lambda what, more: progress.advance(tasks[what], more)
        )


def _ask(plan: Plan, run: Run) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: add --yes to send, or --dry-run to only look")
    click.confirm(f"send {plan.to_send:,} records to the {run.terms.agent}?", abort=True)


async def _send(opened: Desk, run: Run, plan: Plan, limits: Limits) -> Ending:
    agent, bootstrap = run.terms.agent, opened.settings.bootstrap
    producer = KafkaProducer(ProducerConfig(bootstrap, "bems-dlq"))
    try:
        with stop_on_signals() as stop, bars() as progress, closing(KafkaGroup(bootstrap, f"bems-{agent}")) as group:
            sent = progress.add_task("sent", total=plan.to_send)
            handled = progress.add_task("handled", total=plan.to_send)

            def show(standing: Standing) -> None:
                progress.update(sent, completed=standing.sent)
                failed = f", {standing.failed:,} failed again" if standing.failed else ""
                progress.update(handled, completed=standing.settled, description=f"handled{failed}")

            parts = Parts(
                log=opened.log,
                letters=opened.letters,
                publisher=producer,
                group=group,
                clock=opened.clock,
                lanes=opened.lanes(agent),
                side=opened.side(agent),
                audit_topic=opened.catalogue.audit_topic,
                stopping=stop.is_set,
                show=show,
            )
            return await Redrive(parts, limits, run, plan).run()
    finally:
        await producer.close(CLOSE_SECONDS)
