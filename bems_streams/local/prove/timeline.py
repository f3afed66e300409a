"""The picture of a proof: faults as bars in lanes by the part they hit; beneath them pace, backlog and visibility.

One SVG without scripts, coloured by the page's variables. Not here: the page around it (page.py).
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise
from math import log10
from typing import Any, Final

from bems_streams.local.prove.kinds import KINDS, Zone

WIDTH: Final = 1160
LEFT: Final = 92
RIGHT: Final = 12
LANE: Final = 17
POINTS: Final = 500
GAP: Final = 34
VISIBLE_FROM_MS: Final = 10.0
VISIBLE_TO_MS: Final = 1_000_000.0
ZONES: Final = tuple(Zone)

Scale = Callable[[float], float]


def timeline(document: Mapping[str, Any]) -> str:
    """The picture of a report."""
    samples, faults = thinned(document["samples"]), document["fault_log"]
    ends = [fault["survived_seconds"] or fault["ended_seconds"] or 0.0 for fault in faults]
    last: float = max([1.0, *(sample["seconds"] for sample in samples), *ends])

    def x(seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(seconds, 0.0), last) / last

    top = 8.0
    parts = [_lanes(faults, x, top)]
    top += LANE * len(ZONES) + GAP
    bottoms = []
    for title, height, draw in (("events/s", 150, _pace), ("backlog", 84, _backlog), ("visible after", 96, _visible)):
        parts.append(_panel(title, top, height))
        parts.append(draw(samples, x, top, height))
        bottoms.append(top + height)
        top += height + GAP
    parts.append(_minutes(last, x, 8.0, bottoms[-1]))
    shades = "".join(_shade(fault, x, bottoms[-1]) for fault in faults)
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottoms[-1] + 24:.0f}" role="img" aria-label="Faults, pace, backlog, visibility">'
        f"{shades}{''.join(parts)}</svg>"
    )


def thinned(samples: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Every so many, so that long proofs stay small; the worst visibility of those left out is kept."""
    step = -(-len(samples) // POINTS) or 1
    groups = [samples[start : start + step] for start in range(0, len(samples), step)]
    return [{**group[-1], "p99_ms": max((s["p99_ms"] or 0.0 for s in group), default=0.0) or None} for group in groups]


def per_second(
    samples: Sequence[Mapping[str, Any]], count: Callable[[Mapping[str, Any]], float]
) -> list[tuple[float, float]]:
    """How fast a total grows, at each sample but the first."""
    found = []
    for before, now in pairwise(samples):
        seconds = now["seconds"] - before["seconds"]
        if seconds > 0:
            found.append((now["seconds"], max(0.0, (count(now) - count(before)) / seconds)))
    return found


def accounted(sample: Mapping[str, Any]) -> float:
    """Accepted events that have an outcome."""
    return float(sum(sample[name] for name in ("stored", "duplicates", "dead_lettered", "retrying")))


def _lanes(faults: Sequence[Mapping[str, Any]], x: Scale, top: float) -> str:
    parts = []
    for place, zone in enumerate(ZONES):
        y = top + LANE * place
        parts.append(f'<text class="axis" x="{LEFT - 10}" y="{y + 12}" text-anchor="end">{zone.value}</text>')
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y + LANE}" y2="{y + LANE}"/>')
    return "".join(parts) + "".join(_bar(fault, x, top) for fault in faults)


def _bar(fault: Mapping[str, Any], x: Scale, top: float) -> str:
    """Dark while the fault lasts, light until the cell is whole again."""
    y = top + LANE * ZONES.index(KINDS[fault["fault"]].zone) + 3
    start, ended = x(fault["started_seconds"]), x(fault["ended_seconds"] or fault["started_seconds"])
    whole = x(fault["survived_seconds"] or fault["ended_seconds"] or fault["started_seconds"])
    kept = "survived" if fault["survived"] else "fatal"
    target = f" {fault['target']}" if fault["target"] else ""
    outcome = (
        f"survived after {fault['survived_seconds'] - fault['started_seconds']:.1f} s"
        if fault["survived"]
        else (f"not survived: {fault['missing']}")
    )
    title = f"{fault['fault']}{target} at {fault['started_seconds']:.0f} s: {fault['what']}; {outcome}"
    return (
        f'<g class="{kept}"><title>{escape(title)}</title>'
        f"{_box('after', start, whole, y)}{_box('during', start, ended, y)}</g>"
    )


def _box(name: str, start: float, end: float, y: float) -> str:
    width = max(end - start, 3)
    return f'<rect class="{name}" x="{start:.1f}" y="{y}" width="{width:.1f}" height="{LANE - 5}" rx="2"/>'


def _shade(fault: Mapping[str, Any], x: Scale, bottom: float) -> str:
    start, ended = x(fault["started_seconds"]), x(fault["ended_seconds"] or fault["started_seconds"])
    width = max(ended - start, 1.5)
    return f'<rect class="shade" x="{start:.1f}" y="8" width="{width:.1f}" height="{bottom - 8:.0f}"/>'


def _panel(title: str, top: float, height: float) -> str:
    return (
        f'<text class="panel" x="{LEFT}" y="{top - 8}">{title}</text>'
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + height}" y2="{top + height}"/>'
    )


def _pace(samples: Sequence[Mapping[str, Any]], x: Scale, top: float, height: float) -> str:
    accepted = per_second(samples, lambda sample: sample["accepted"])
    stored = per_second(samples, accounted)
    most = max([1.0, *(rate for _, rate in (*accepted, *stored))])

    def y(rate: float) -> float:
        return top + height * (1 - rate / most)

    legend = (
        f'<text class="panel accepted-ink" x="{LEFT + 70}" y="{top - 8}">accepted</text>'
        f'<text class="panel stored-ink" x="{LEFT + 140}" y="{top - 8}">accounted for</text>'
    )
    return legend + _ticks([most], y, "{:,.0f}") + _line("stored", stored, x, y) + _line("accepted", accepted, x, y)


def _backlog(samples: Sequence[Mapping[str, Any]], x: Scale, top: float, height: float) -> str:
    points = [(sample["seconds"], max(0.0, sample["accepted"] - accounted(sample))) for sample in samples]
    most: float = max([1.0, *(lag for _, lag in points)])

    def y(lag: float) -> float:
        return top + height * (1 - lag / most)

    return _ticks([most], y, "{:,.0f}") + _area(points, x, y, top + height)


def _visible(samples: Sequence[Mapping[str, Any]], x: Scale, top: float, height: float) -> str:
    """On a logarithmic scale: from 10 ms to a quarter of an hour."""

    def y(milliseconds: float) -> float:
        share: float = log10(max(milliseconds, VISIBLE_FROM_MS) / VISIBLE_FROM_MS) / log10(
            VISIBLE_TO_MS / VISIBLE_FROM_MS
        )
        return top + height * (1 - min(share, 1.0))

    marks = "".join(
        f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        f'<text class="axis" x="{LEFT - 10}" y="{y(value) + 4:.1f}" text-anchor="end">{text}</text>'
        for value, text, kind in ((100, "0.1 s", "grid"), (2_000, "2 s", "goal"), (120_000, "120 s", "limit"))
    )
    dots = "".join(
        f'<circle class="seen" cx="{x(s["seconds"]):.1f}" cy="{y(s["p99_ms"]):.1f}" r="1.6"/>'
        for s in samples
        if s["p99_ms"] is not None
    )
    return f'{marks}<text class="panel" x="{LEFT + 84}" y="{top - 8}">99 % of what is seen in each second</text>{dots}'


def _minutes(last: float, x: Scale, top: float, bottom: float) -> str:
    step = next((step for step in (10, 30, 60, 120, 300, 600, 1800, 3600) if last / step <= 14), 7200)
    parts = []
    for seconds in range(0, int(last) + 1, step):
        place = x(seconds)
        label = f"{seconds // 60} min" if step >= 60 else f"{seconds} s"
        parts.append(f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{place:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    return "".join(parts)


def _ticks(values: Sequence[float], y: Scale, form: str) -> str:
    return "".join(
        f'<text class="axis" x="{LEFT - 10}" y="{y(value) + 8:.1f}" text-anchor="end">{form.format(value)}</text>'
        for value in values
    )


def _line(name: str, points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
    return f'<polyline class="{name}" points="{path}"/>'


def _area(points: Sequence[tuple[float, float]], x: Scale, y: Scale, bottom: float) -> str:
    if not points:
        return ""
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in points)
    return f'<polygon class="backlog" points="{x(points[0][0]):.1f},{bottom} {path} {x(points[-1][0]):.1f},{bottom}"/>'
