"""`bems prove`: breaks a cell on this machine in every way, under load, and shows that every promise was kept.

Not here: how (local/prove).
"""

import json
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console

from bems_streams.config import Settings
from bems_streams.local.kafka import EmbeddedKafkaError
from bems_streams.local.prove.guarantees import GUARANTEES
from bems_streams.local.prove.kinds import KINDS
from bems_streams.local.prove.page import page
from bems_streams.local.prove.plan import make_plan
from bems_streams.local.prove.proof import Proof, document
from bems_streams.local.prove.run import NotReadyError, Run
from bems_streams.local.prove.screen import Screen, verdict_table
from bems_streams.local.prove.site import NAMES, ProveOptions
from bems_streams.topics import CatalogueError


@click.command(name="prove", short_help="Break a cell under load, and show that nothing is lost.")
@click.option(
    "--minutes", type=click.FloatRange(0.2, 1440), default=20.0, show_default=True, help="Of load and faults."
)
@click.option("--rate", type=click.FloatRange(1, 100_000), default=1000.0, show_default=True, help="Events per second.")
@click.option("--seed", type=click.IntRange(0), help="Same seed, same faults and events. [a new one each time]")
@click.option("--faults", help=f"Only these, separated by commas: {', '.join(KINDS)}.")
@click.option("--list", "listing", is_flag=True, help="Print the plan of the seed, and do nothing.")
@click.option(
    "--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep everything here. [a temporary folder]"
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report here.")
@click.option("--html", "html_path", type=click.Path(dir_okay=False, path_type=Path), help="Write it as a page here.")
def command(
    *,
    minutes: float,
    rate: float,
    seed: int | None,
    faults: str | None,
    listing: bool,
    state_dir: Path | None,
    json_path: Path | None,
    html_path: Path | None,
) -> None:
    """Run three brokers, gateways, trackers and sinks on this machine, load them, and inject faults by a seeded plan.

    At the end every acknowledged event is looked for, every invoice's state is compared with a fold of its own, and
    the ledger must close. Ctrl-C ends it early and judges what happened. Exit code: 0 only when every promise was
    kept; 1 when one was broken, each named; 2 wrong options. The seed repeats a proof.
    """
    Settings()  # a slip in the environment is named before anything starts
    chosen = secrets.randbelow(1_000_000) if seed is None else seed
    only = [name.strip() for name in faults.split(",") if name.strip()] if faults else []
    with ExitStack() as held:
        folder = state_dir or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="bems-prove-")))
        options = ProveOptions(folder, minutes, rate, chosen, only)
        _refuse_wrong(options)
        if listing:
            _print_plan(options)
            return
        proof = _prove(options)
        if json_path is not None:
            json_path.write_text(json.dumps(document(proof), indent=2) + "\n", encoding="utf-8")
        if html_path is not None:
            html_path.write_text(page(document(proof)), encoding="utf-8")
    sys.exit(0 if proof.closed else 1)


def _refuse_wrong(options: ProveOptions) -> None:
    try:
        make_plan(options.seed, options.minutes, options.site, options.only)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--faults") from error
    if (options.state_dir / "load").exists():
        raise click.BadParameter(
            f"{options.state_dir} holds an earlier proof: name an empty folder, or none", param_hint="--state-dir"
        )


def _print_plan(options: ProveOptions) -> None:
    plan = make_plan(options.seed, options.minutes, options.site, options.only)
    click.echo(f"seed {options.seed}: {len(plan)} faults in {options.minutes:g} minutes, on {', '.join(NAMES)}")
    for planned in plan:
        click.echo(f"{planned.number:3}  {planned.describe()}")
    attacked = {name for planned in plan for name in planned.kind.guarantees}
    click.echo(f"attacked: {', '.join(name for name in GUARANTEES if name in attacked)}")


def _prove(options: ProveOptions) -> Proof:
    console = Console(stderr=True)
    screen = Screen(console, options.minutes * 60)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stop in order, and judge
    screen.line(f"seed [bold]{options.seed}[/]: repeats this proof. Everything is kept in {options.state_dir}")
    try:
        proof = Run(options, screen).run()
    except (EmbeddedKafkaError, CatalogueError, NotReadyError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        raise click.ClickException("stopped before there was anything to judge; nothing is left running") from None
    Console().print(verdict_table(proof))
    return proof
