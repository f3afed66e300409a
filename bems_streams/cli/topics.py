"""`bems topics`: show how a cluster's topics differ from the catalogue, repair them, or check them.

Not here: what differs or may be changed (topics_plan.py, topics_policy.py).
Exit codes: 0 done or equal, 1 differences remain, 2 the catalogue or the cluster could not be read.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bems_streams.config import Settings
from bems_streams.topics import PAYLOAD_TYPES, Catalogue, CatalogueError, Overrides, load_catalogue, payload_schema
from bems_streams.topics_plan import Patience, TopicAdmin, TopicAdminError, apply_plan, check_cluster
from bems_streams.topics_policy import Difference, Remedy

_F = TypeVar("_F", bound=Callable[..., Any])
TIMEOUT_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 30.0
_UNTERMINAL_WIDTH: Final = 200  # into a file or a pipe, lines are not folded at 80 columns


class CannotCompareError(click.ClickException):
    """The catalogue or the cluster could not be read: nothing is known about differences."""

    exit_code = 2


def _catalogue_options(function: _F) -> _F:
    """Options of everything that reads the catalogue; unset ones come from the environment (BEMS_…)."""
    for option in (
        click.option("--min-insync", type=int, help="Copies that must have a record before it counts as durable."),
        click.option("--replication", type=int, help="Copies of every topic, instead of the catalogue's number."),
        click.option("--partitions", type=int, help="Partitions of every topic, instead of the catalogue's number."),
        click.option("--catalogue", type=click.Path(path_type=Path), help="Path of topics.yaml."),
    ):
        function = option(function)
    return function


def _cluster_options(function: _F) -> _F:
    """Options of everything that talks to a cluster."""
    function = click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=TIMEOUT_SECONDS,
        show_default=True,
        help="Seconds per call.",
    )(function)
    return click.option("--bootstrap", help="Kafka bootstrap servers, host:port[,…].")(function)


@click.group()
def command() -> None:
    """Compare the cluster's topics with the catalogue, and create them."""


@command.command()
@_catalogue_options
@_cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print the differences as a JSON list.")
def plan(as_json: bool, **options: Any) -> None:
    """Show every difference and what `apply` would do about it. Changes nothing."""
    catalogue, admin = _connect(**options)
    _print(_guarded(lambda: check_cluster(catalogue, admin)), as_json)


@command.command()
@_catalogue_options
@_cluster_options
@click.option("--json", "as_json", is_flag=True, help="Print the differences as a JSON list.")
def check(as_json: bool, **options: Any) -> None:
    """Exit with 0 when cluster and catalogue are equal, with 1 when anything differs (and show it)."""
    catalogue, admin = _connect(**options)
    differences = _guarded(lambda: check_cluster(catalogue, admin))
    _print(differences, as_json)
    if differences:
        sys.exit(1)


@command.command()
@_catalogue_options
@_cluster_options
@click.option(
    "--may-drop",
    multiple=True,
    metavar="TOPIC",
    help="Allow shorter retention or compaction in this topic, which deletes records for good. May be repeated.",
)
@click.option(
    "--settle",
    type=click.FloatRange(min=0),
    default=SETTLE_SECONDS,
    show_default=True,
    help="Seconds to wait until the cluster shows the changes.",
)
def apply(may_drop: Sequence[str], settle: float, **options: Any) -> None:
    """Create what is missing, alter settings that differ, and read it all back. Safe to repeat."""
    catalogue, admin = _connect(**options)
    unknown = sorted(set(may_drop) - {spec.name for spec in catalogue.topics()})
    if unknown:
        raise click.BadParameter(f"the catalogue has no topic {', '.join(unknown)}", param_hint="--may-drop")
    applied = _guarded(lambda: apply_plan(catalogue, admin, Patience(settle), may_drop))
    created = sum(difference.remedy is Remedy.CREATE for difference in applied.done)
    click.echo(
        f"{len(catalogue.topics())} topics in the catalogue: created {created}, "
        f"altered {len(applied.done) - created} settings, read back."
        if applied.done
        else f"{len(catalogue.topics())} topics in the catalogue: nothing to create or alter."
    )
    if applied.unsettled:
        click.echo(f"The cluster does not show these changes after {settle:g} s; run `bems topics apply` again:")
        _print(applied.unsettled, as_json=False)
    if applied.refused:
        click.echo("Not changed, because it needs your decision:")
        _print(applied.refused, as_json=False)
    if applied.unsettled or applied.refused:
        sys.exit(1)


@command.command()
@click.argument("payload", type=click.Choice([*PAYLOAD_TYPES]))
def schema(payload: str) -> None:
    """Print the JSON Schema of a payload."""
    click.echo(json.dumps(payload_schema(payload), indent=2))


def _connect(
    *,
    catalogue: Path | None,
    partitions: int | None,
    replication: int | None,
    min_insync: int | None,
    bootstrap: str | None,
    timeout: float,
) -> tuple[Catalogue, TopicAdmin]:
    from bems_streams.adapters.kafka_admin import KafkaTopicAdmin

    settings = Settings()
    options = Overrides(partitions, replication, min_insync)
    try:
        loaded = load_catalogue(catalogue or settings.catalogue, replace(settings.overrides, **options.given()))
    except CatalogueError as error:
        raise CannotCompareError(str(error)) from error
    return loaded, _guarded(lambda: KafkaTopicAdmin(bootstrap or settings.bootstrap, timeout))


_T = TypeVar("_T")


def _guarded(action: Callable[[], _T]) -> _T:
    try:
        return action()
    except TopicAdminError as error:
        raise CannotCompareError(str(error)) from error


def _print(differences: Sequence[Difference], as_json: bool) -> None:
    if as_json:
        click.echo(
            json.dumps([{**asdict(difference), "unsafe": difference.unsafe} for difference in differences], indent=2)
        )
    elif not differences:
        click.echo("The cluster's topics are what the catalogue says.")
    else:
        _print_table(differences)


def _print_table(differences: Sequence[Difference]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("topic", "setting", "cluster", "catalogue", "apply"):
        table.add_column(column, overflow="fold")
    table.add_column("danger", overflow="fold", ratio=1)
    for difference in differences:
        cells = (
            difference.topic,
            difference.setting,
            difference.found,
            difference.wanted,
            difference.remedy.value,
            difference.danger,
        )
        table.add_row(*(Text(cell) for cell in cells), style="red" if difference.unsafe else "")
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNTERMINAL_WIDTH)
    console.print(table)
    for setting, advice in dict.fromkeys((d.setting, d.advice) for d in differences if d.advice):
        concerned = [d.topic for d in differences if (d.setting, d.advice) == (setting, advice)]
        where = concerned[0] if len(concerned) == 1 else f"{len(concerned)} topics"
        click.echo(f"\nRefused, {setting} of {where}: {advice}.")
    unsafe = sum(difference.unsafe for difference in differences)
    click.echo(f"\nDifferences: {len(differences)}, of which {unsafe} could lose or misplace events.")
