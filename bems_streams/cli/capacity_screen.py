"""A plan as people read it: a table with a column for each rate, what bounds each figure, warnings.

Not here: the computation (capacity/).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from math import isfinite
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bems_streams.capacity.figure import Figure
from bems_streams.capacity.inputs import Inputs
from bems_streams.capacity.plan import Plan

SIZES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
MINUTE_SECONDS: Final = 60.0
HOUR_SECONDS: Final = 3600.0


def plans_table(plans: Sequence[Plan]) -> Table:
    """One row per figure of one cell, under the heading of its section."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "each cell", *headings(plans)):
        table.add_column(heading, justify="left" if heading in ("", "each cell") else "right")
    table.add_column("bounded by", style="dim")
    table.add_row(Text("cells", "bold"), "", *(f"{plan.cells}" for plan in plans), "")
    for section, rows in groupby(_rows(plans), key=lambda row: row[0].section):
        table.add_section()
        for place, (figure, values, bound) in enumerate(rows):
            table.add_row(Text("" if place else section.value, "bold"), figure.name, *values, bound)
    return table


def markdown(plans: Sequence[Plan]) -> str:
    """The same, for documents."""
    columns = headings(plans)
    lines = [
        f"| each cell | {' | '.join(columns)} | bounded by |",
        f"|---|{'---:|' * len(columns)}---|",
        f"| **cells** | {' | '.join(str(plan.cells) for plan in plans)} | |",
    ]
    for section, rows in groupby(_rows(plans), key=lambda row: row[0].section):
        for figure, values, bound in rows:
            lines.append(f"| {section.value}: {figure.name} | {' | '.join(values)} | {bound} |")
    return "\n".join([*lines, *(f"\n{warning}." for warning in _warnings(plans))])


def headings(plans: Sequence[Plan]) -> list[str]:
    """The rate that each column is for."""
    return [f"{plan.demand.rate:,.0f}/s" for plan in plans]


def print_warnings(console: Console, plans: Sequence[Plan]) -> None:
    """What was asked for, and each limit that is crossed."""
    first = plans[0].demand
    console.print(
        f"\n{first.invoices:,.0f} open invoices, {first.retention_days:g} days of retention. "
        "`bems capacity --inputs` lists what this is computed from.",
        style="dim",
    )
    for warning in _warnings(plans):
        console.print(Text(f"warning: {warning}", "yellow"))


def _warnings(plans: Sequence[Plan]) -> list[str]:
    """Each once, whichever plans it is for."""
    return list(dict.fromkeys(warning for plan in plans for warning in plan.warnings))


def inputs_table(inputs: Inputs) -> Table:
    """Every input with what it is and where it is from."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "value", "unit", "what it is", "where it is from"):
        table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
    for each in inputs.all.values():
        table.add_row(each.name, f"{each.value:,g}", each.unit, each.meaning, each.source)
    return table


def document(plans: Sequence[Plan], inputs: Inputs) -> dict[str, Any]:
    """JSON: plans with their figures in base units, and the inputs that they came from."""
    return {
        "plans": [asdict(plan) for plan in plans],
        "inputs": {name: {"value": each.value, "unit": each.unit} for name, each in inputs.all.items()},
    }


def shown(value: float, unit: str) -> str:
    """With a unit that suits its size, three digits that count."""
    if not isfinite(value):
        return "never"
    if unit in ("bytes", "bytes/s"):
        size, name = next(((size, name) for size, name in SIZES if value >= size), (1.0, "B"))
        return f"{_digits(value / size)} {name}{unit.removeprefix('bytes')}"
    if unit == "s":
        return _time(value)
    if unit.startswith("$"):
        return f"${value:,.0f}{unit[1:]}" if value >= 100 else f"${value:,.2f}{unit[1:]}"
    return _digits(value)


def _time(seconds: float) -> str:
    if seconds >= HOUR_SECONDS:
        return f"{_digits(seconds / HOUR_SECONDS)} h"
    return f"{_digits(seconds / MINUTE_SECONDS)} min" if seconds >= MINUTE_SECONDS else f"{_digits(seconds)} s"


def _digits(value: float) -> str:
    if value == round(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rows(plans: Sequence[Plan]) -> Iterator[tuple[Figure, list[str], str]]:
    """A figure of the first plan, its value in every plan, and what bounds it there."""
    for figures in zip(*(plan.figures for plan in plans), strict=True):
        told = ", ".join(dict.fromkeys(figure.bound for figure in figures))
        yield figures[0], [shown(figure.value, figure.unit) for figure in figures], told
