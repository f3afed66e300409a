"""`bems capacity`: what a cell needs for a rate, from measured figures, before anybody buys it.

Not here: the computation (capacity/), how a plan looks (capacity_screen.py).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from bems_streams.capacity.demand import Demand
from bems_streams.capacity.inputs import FROM_OPTION, InputError, Inputs, default_inputs, parse_values, read_values
from bems_streams.capacity.plan import plan
from bems_streams.catalogue.document import parse_duration
from bems_streams.cli.capacity_screen import document, inputs_table, markdown, plans_table, print_warnings
from bems_streams.cli.screen import screen

FACTORS = {"k": 1e3, "m": 1e6, "g": 1e9}


@click.command(name="capacity", short_help="What a rate needs: processes, brokers, disk, cost.")
@click.option(
    "--rate", "rates", multiple=True, metavar="R", help="Events per second at the peak: 1000, 10k; several compare."
)
@click.option("--invoices", default="100M", show_default=True, metavar="N", help="Open at once: 250k, 100M.")
@click.option("--retention", default="30d", show_default=True, metavar="D", help="Of the stage topics: 12h, 30d.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Another input; may be repeated.")
@click.option(
    "--values",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Other inputs, from a TOML file of `name = value`.",
)
@click.option("--inputs", "listing", is_flag=True, help="List every input with its unit and where it is from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table, for documents.")
def command(
    *,
    rates: Sequence[str],
    invoices: str,
    retention: str,
    assignments: Sequence[str],
    values: Path | None,
    listing: bool,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Compute cores, processes, brokers, disk, memory, network and cost, and say what bounds each of them.

    Measured inputs come with the package; `make bench BENCH=footprint` measures them on a machine of your own. Beyond
    the limits of one cell, the figures are those of each of several cells. Nothing is contacted.
    """
    problems: list[str] = []
    demands = _demands(rates, invoices, retention, problems) if not listing else []
    inputs = _inputs(assignments, values, problems)
    if problems:
        raise click.UsageError("\n".join(["correct these:", *(f"  {problem}" for problem in problems)]))
    console = screen()
    if listing:
        console.print(inputs_table(inputs))
        return
    plans = [plan(demand, inputs) for demand in demands]
    if as_json:
        click.echo(json.dumps(document(plans, inputs), indent=2))
    elif as_markdown:
        click.echo(markdown(plans))
    else:
        console.print(plans_table(plans))
        print_warnings(console, plans)


def _demands(rates: Sequence[str], invoices: str, retention: str, problems: list[str]) -> list[Demand]:
    found_rates = [_count("--rate", rate, problems) for rate in rates]
    if not rates:
        problems.append("--rate: say how many events per second, such as 1000 or 10k")
    found_invoices = _count("--invoices", invoices, problems)
    days = 0.0
    try:
        days = parse_duration(retention).total_seconds() / 86_400
        if days <= 0:
            problems.append(f"--retention: {retention} is no time at all")
    except ValueError as error:
        problems.append(f"--retention: {error}")
    return [Demand(rate, found_invoices, days) for rate in found_rates]


def _count(option: str, text: str, problems: list[str]) -> float:
    """A number above 0, with k, M or G behind it."""
    stem, factor = text.strip(), 1.0
    if stem and stem[-1].lower() in FACTORS:
        stem, factor = stem[:-1], FACTORS[stem[-1].lower()]
    try:
        value = float(stem) * factor
    except ValueError:
        value = 0.0
    if not 0 < value < 1e15:
        problems.append(f"{option}: {text!r} is not a number above 0, such as 1000, 10k or 100M")
    return value


def _inputs(assignments: Sequence[str], path: Path | None, problems: list[str]) -> Inputs:
    inputs = default_inputs()
    try:
        if path is not None:
            inputs = inputs.changed(read_values(path), str(path))
    except InputError as error:
        problems += [f"--values {line}" for line in str(error).splitlines()]
    given, slips = parse_values(assignments)
    problems += [f"--set {slip}" for slip in slips]
    try:
        inputs = inputs.changed(given, FROM_OPTION)
    except InputError as error:
        problems += [f"--set {line}" for line in str(error).splitlines()]
    return inputs
