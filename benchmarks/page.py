"""The report as one page that needs nothing else: targets first, then each benchmark with its plots and its cases.

It follows the reader's light or dark theme. Not here: the figures' words (report.py), drawing (plots.py).
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from bems_streams.local.prove.page import STYLE
from benchmarks import report
from benchmarks.machine import busy_warning
from benchmarks.report import COLUMNS, Document

MORE_STYLE: Final = (
    ":root { --peer: #a9b4bf; } @media (prefers-color-scheme: dark) { :root { --peer: #56636f; } }"
    "figure { margin: 12px 0; } figure svg { max-width: 900px; } "
    ".doubt { color: var(--bad); } td b { font-weight: 600; } td.kept, td.lost { white-space: nowrap; }"
)


def page(found: Document, pictures: Mapping[str, Sequence[str]], measures: Mapping[str, str]) -> str:
    """HTML. `pictures`: <svg> elements by benchmark; `measures`: what each benchmark is about."""
    parts = [_head(found), _targets(found["targets"])]
    for name, cases in report.by_benchmark(found):
        drawn = "".join(f"<figure>{picture}</figure>" for picture in pictures.get(name, ()))
        parts.append(f'<h2 id="{name}">{name}</h2><p>{escape(measures.get(name, ""))}</p>{drawn}{_cases(cases)}')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Benchmarks · {escape(found['date'])}</title>"
        f"<style>{STYLE.read_text(encoding='utf-8')}{MORE_STYLE}</style>"
        f"<main>{''.join(parts)}</main></html>\n"
    )


def _head(found: Document) -> str:
    targets, machine = found["targets"], found["machine"]
    met = sum(target["met"] for target in targets)
    figures = {
        "targets met": f"{met} of {len(targets)}",
        "cases": f"{len(found['cases'])}",
        "CPUs": f"{machine['cpus']}",
        "memory": f"{machine['memory_bytes'] / 1e9:.0f} GB",
        "Python": machine["python"],
        "load before": f"{machine['load_average']:.1f}",
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items())
    quick = " Short runs: they show that all works, and measure roughly." if found["settings"]["quick"] else ""
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    doubts = [busy_warning(machine["load_average"], machine["cpus"])]
    doubts += [f"{each['name']} failed: {each['reason']}; run {' '.join(each['command'])}" for each in found["failed"]]
    told = "".join(f'<p class="doubt">{escape(doubt)}</p>' for doubt in doubts if doubt)
    whole = met == len(targets) and not found["failed"]
    return (
        f'<header class="{"" if whole else "broken"}"><h1><b>{met} of {len(targets)}</b> targets are met.</h1>'
        f"<p>{escape(machine['model'])}, {escape(machine['system'])}, {escape(found['date'])}, commit "
        f"{escape(found['commit'])}.{quick}</p><p>{escape(libraries)}</p>{told}<dl>{shown}</dl></header>"
    )


def _targets(targets: Sequence[Mapping[str, Any]]) -> str:
    if not targets:
        return ""
    rows = "".join(
        f'<tr><td>{escape(target["name"])}</td><td class="n">{report.number(target["value"])}</td>'
        f'<td class="n">{report.goal(target)}</td>'
        f'<td class="{"kept" if target["met"] else "lost"}">{report.verdict(target)}</td>'
        f'<td class="soft">{escape(target["bounded_by"])}</td></tr>'
        for target in targets
    )
    head = (
        '<thead><tr><th>target</th><th class="n">measured</th><th class="n">goal</th><th></th>'
        "<th>what bounds it</th></tr></thead>"
    )
    return f'<h2>Targets</h2><div class="wide"><table>{head}{rows}</table></div>'


def _cases(cases: Sequence[Mapping[str, Any]]) -> str:
    headings = "".join(f'<th class="n">{heading}</th>' for _, heading in COLUMNS)
    rows = "".join(_case(case) for case in cases)
    return (
        f'<div class="wide"><table><thead><tr><th>case</th>{headings}<th>further</th></tr></thead>{rows}</table></div>'
    )


def _case(case: Mapping[str, Any]) -> str:
    figures = "".join(f'<td class="n">{report.spread(case, figure)}</td>' for figure, _ in COLUMNS)
    settings = ", ".join(f"{name} {value}" for name, value in case["settings"].items())
    return (
        f"<tr><td><b>{escape(case['name'])}</b><br>{escape(case['measures'])}<br>"
        f'<span class="soft">{escape(settings)}</span></td>{figures}<td>{escape(report.further(case))}</td></tr>'
    )
