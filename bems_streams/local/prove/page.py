"""The report of a proof as one page that needs nothing else: verdict first, then the picture, then each promise.

Made from the report's document, so that a report can be shown again. Not here: the picture (timeline.py).
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from bems_streams.local.prove.timeline import timeline

NAMES: Final = ("receipt", "event_id", "invoice_id")
STYLE: Final = Path(__file__).with_name("page.css")


def page(document: Mapping[str, Any]) -> str:
    """HTML."""
    title = "Every promise was kept" if document["closed"] else "A promise was broken"
    parts = [
        _head(document, title),
        "<h2>What happened</h2><figure>",
        timeline(document),
        "</figure>",
        _findings(document["findings"]),
        "<h2>Promises</h2>",
        _promises(document["guarantees"]),
        "<h2>Faults</h2>",
        _faults(document["fault_log"]),
        _plan(document["plan"]),
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} · bems prove, seed {document['seed']}</title>"
        f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
        f"<main>{''.join(parts)}</main></html>\n"
    )


def _head(document: Mapping[str, Any], title: str) -> str:
    totals, seen = document["totals"], document["visibility"]
    faults, injected = document["faults"], document["faults_injected"]
    figures = {
        "accepted": f"{totals['accepted']:,}",
        "missing": f"{totals['missing']:,}",
        "faults survived": f"{faults} of {injected}",
        "events per second": f"{document['accepted_per_second']:,.0f}",
        "visible after, median": _milliseconds(seen["p50_ms"]),
        "99 %": _milliseconds(seen["p99_ms"]),
        "longest": _milliseconds(seen["longest_ms"]),
    }
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    equation = " + ".join(
        f"<b>{totals[name]:,}</b> {text}"
        for name, text in (
            ("stored", "stored"), ("duplicates", "duplicates"), ("dead_lettered", "dead-lettered"),
            ("retrying", "in a lane"), ("missing", "missing"),
        )
    )  # fmt: skip
    sums = ", ".join(f"{amount} {currency}" for currency, amount in sorted(totals["value_accepted"].items()))
    early = " It was ended early." if document["interrupted"] else ""
    return (
        f'<header class="{"" if document["closed"] else "broken"}"><h1><b>{title}.</b> '
        f"{totals['missing']:,} of {totals['accepted']:,} events are missing.</h1>"
        f"<p>{document['minutes']:g} minutes at {document['rate']:,.0f} events per second, {injected} faults, seed "
        f"{document['seed']}, written {escape(document['written_at'])}.{early} "
        f"Repeat it: <code>{escape(document['repeat'])}</code></p><dl>{shown}</dl>"
        f'<p class="equation"><b>{totals["accepted"]:,}</b> accepted = {equation}</p>'
        + (f'<p class="equation">value accepted: {escape(sums)}</p>' if sums else "")
        + "</header>"
    )


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.1f} s"


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return ""
    rows = "".join(
        f"<tr><td>{escape(found['guarantee'])}</td><td>{escape(found['what'])}</td>"
        f"<td><code>{escape(' '.join(found[name] for name in NAMES if found[name]))}</code></td></tr>"
        for found in findings
    )
    head = "<thead><tr><th>promise</th><th>what was found</th><th>which</th></tr></thead>"
    return f'<h2 class="lost">Findings</h2><div class="wide"><table>{head}{rows}</table></div>'


def _promises(guarantees: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, guarantee in guarantees.items():
        attacks = ", ".join(f"{kind} &times; {count}" for kind, count in guarantee["attacked_by"].items())
        verdict = (
            '<span class="kept">kept</span>'
            if guarantee["kept"]
            else (f'<span class="lost">broken {guarantee["broken"]:,} times</span>')
        )
        if guarantee["kept"] and not attacks:
            verdict = '<span class="untouched">kept, not attacked</span>'
        rows.append(
            f'<tr><td>{name}</td><td>{escape(guarantee["promise"])}</td><td class="soft">{attacks or "-"}</td>'
            f"<td>{verdict}</td></tr>"
        )
    head = "<thead><tr><th></th><th>promise</th><th>attacked by</th><th>verdict</th></tr></thead>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _faults(faults: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(_fault(fault) for fault in faults)
    head = (
        '<thead><tr><th class="n">#</th><th class="n">at</th><th>fault</th><th>whom</th><th>attacks</th>'
        '<th class="n">lasted</th><th class="n">whole again after</th><th class="n">accepted meanwhile</th>'
        "<th>outcome</th></tr></thead>"
    )
    return f'<div class="wide"><table>{head}{rows}</table></div>'


def _fault(fault: Mapping[str, Any]) -> str:
    start, ended, survived = fault["started_seconds"], fault["ended_seconds"], fault["survived_seconds"]
    outcome = (
        '<span class="survived-ink">survived</span>'
        if fault["survived"]
        else (f'<span class="lost">not survived</span> {escape(fault["missing"] or "")}')
    )
    return (
        f'<tr><td class="n">{fault["number"]}</td><td class="n">{start:,.0f} s</td>'
        f'<td><b>{escape(fault["fault"])}</b><br><span class="soft">{escape(fault["what"])}</span></td>'
        f"<td>{escape(fault['target'] or '')}</td><td>{', '.join(fault['guarantees'])}</td>"
        f'<td class="n">{_seconds(start, ended)}</td><td class="n">{_seconds(ended, survived)}</td>'
        f'<td class="n">{fault["accepted_meanwhile"]:,}</td><td>{outcome}</td></tr>'
    )


def _seconds(start: float | None, end: float | None) -> str:
    return "-" if start is None or end is None else f"{end - start:.1f} s"


def _plan(plan: Sequence[str]) -> str:
    lines = "\n".join(escape(line) for line in plan)
    return f"<details><summary>The plan of the seed</summary><pre>{lines}</pre></details>"
