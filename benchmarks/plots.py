"""Draws what people look at first: bars with their spread, lines over what grows. Matplotlib, without a screen.

Drawn in the light colours of the report's page; `themed` turns these into the page's variables, so that one drawing
serves both themes. Not here: which plots there are (registry.py), the page (page.py).
"""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.registry import Bars, Benchmark, Curve, Plot
from benchmarks.report import number

INK: Final = "#16202b"
SOFT: Final = "#5c6b7a"
RULE: Final = "#dfe4e8"
OURS: Final = "#2460a7"
PEER: Final = "#a9b4bf"
GOOD: Final = "#1c7c54"
BAD: Final = "#c2313a"
CARD: Final = "#ffffff"
VARIABLES: Final = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    RULE: "var(--rule)",
    OURS: "var(--blue)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    PEER: "var(--peer)",
}
LINES: Final = (OURS, GOOD, BAD, "#8a5cc2", SOFT)
LOG_FROM: Final = 25.0
DECADE: Final = 10.0
"""A scale by powers of ten where the largest value is so many times the smallest."""
STYLE: Final[dict[Any, Any]] = {  # matplotlib types its keys as one long Literal
    "svg.fonttype": "none",
    "svg.hashsalt": "bems",
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "legend.frameon": False,
}

Cases = Sequence[Mapping[str, Any]]


def drawings(benchmark: Benchmark, cases: Cases) -> Sequence[Figure]:
    """The plots of one benchmark for which there is something to compare."""
    found = []
    for plot in benchmark.plots:
        chosen = [case for case in cases if plot.figure in case and _chosen(plot, case)]
        if len(chosen) > 1:
            with mpl.rc_context(STYLE):
                draw = _bars(plot, benchmark, chosen) if isinstance(plot, Bars) else _curve(plot, chosen)
            found.append(draw)
    return found


def save(figure: Figure, path: Path) -> None:
    """As SVG and as PNG, for slides and documents; `path` without a suffix."""
    with mpl.rc_context(STYLE):
        figure.savefig(path.with_suffix(".svg"), facecolor=CARD, metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), facecolor=CARD, dpi=160)


def themed(figure: Figure) -> str:
    """An <svg> element that takes its colours from the page."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg


def _chosen(plot: Plot, case: Mapping[str, Any]) -> bool:
    settings = case["settings"]
    if isinstance(plot, Curve):
        return plot.over in settings and _kind(plot, case) != case["name"]
    return all(settings.get(name) == value for name, value in (plot.only or {}).items())


def _bars(plot: Bars, benchmark: Benchmark, cases: Cases) -> Figure:
    figure = Figure(figsize=(8.6, 0.9 + 0.42 * len(cases)), layout="constrained")
    axes = figure.subplots()
    medians, lows, highs = (
        [case[plot.figure][name] * _unit(plot) for case in cases] for name in ("median", "lowest", "highest")
    )
    colours = [PEER if case["name"].startswith(tuple(benchmark.peers)) else OURS for case in cases]
    around = [
        [m - low for m, low in zip(medians, lows, strict=True)],
        [h - m for m, h in zip(medians, highs, strict=True)],
    ]
    places = range(len(cases))
    axes.barh(places, medians, color=colours, height=0.62)
    axes.errorbar(medians, places, xerr=around, fmt="none", ecolor=INK, elinewidth=1.1, capsize=3)
    for place, median, high in zip(places, medians, highs, strict=True):
        axes.annotate(number(median), (high, place), xytext=(6, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(places, [case["name"] for case in cases])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.14)
    _scale(axes, plot, medians)
    axes.set_title(plot.title, color=INK)
    return figure


def _scale(axes: Axes, plot: Bars, medians: Sequence[float]) -> None:
    if _wide(medians, LOG_FROM):
        axes.set_xscale("log")
        axes.set_xlim(left=min(medians) / 2)
    axes.set_xlabel(f"{plot.unit}, {axes.get_xscale()} scale" if axes.get_xscale() == "log" else plot.unit)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(axis="x")


def _curve(plot: Curve, cases: Cases) -> Figure:
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    axes = figure.subplots()
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for case in sorted(cases, key=lambda case: float(case["settings"][plot.over])):
        lines.setdefault(_kind(plot, case), []).append(case)
    for (kind, chosen), colour in zip(lines.items(), cycle(LINES), strict=False):
        xs = [case["settings"][plot.over] for case in chosen]
        median, low, high = (
            [case[plot.figure][name] * _unit(plot) for case in chosen] for name in ("median", "lowest", "highest")
        )
        axes.plot(xs, median, marker="o", markersize=4, color=colour, label=kind)
        axes.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)
    if _wide([float(case["settings"][plot.over]) for case in cases], DECADE):
        axes.set_xscale("log")
    if _wide([case[plot.figure]["median"] for case in cases], LOG_FROM):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(plot.over_unit)
    axes.set_ylabel(plot.unit)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid()
    if len(lines) > 1:
        figure.legend(loc="outside right upper")
    axes.set_title(plot.title, color=INK)
    return figure


def _wide(values: Sequence[float], times: float) -> bool:
    """Whether they differ by so much that only a scale by powers of ten shows all."""
    return min(values) > 0 and max(values) / min(values) >= times


def _kind(plot: Curve, case: Mapping[str, Any]) -> str:
    """A case's name without what varies: `10,000 open, warm` and `1,000,000 open, warm` are one line."""
    name, value = str(case["name"]), case["settings"][plot.over]
    return name.replace(f"{value:,.10g}", "").replace(f"{value:.10g}", "").strip(" ,")


def _unit(plot: Plot) -> float:
    return 1e-6 if plot.figure.endswith("_bytes") else 1.0
