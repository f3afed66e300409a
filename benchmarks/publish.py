"""`python -m benchmarks.publish REPORT…`: puts what was measured into docs/performance/latest.json and the documents.

Each benchmark keeps its newest run, with the day and the machine; ratios are within one run. Without a report, only the
documents are written anew. Not here: measuring (__main__.py), documents' blocks (blocks.py).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import report
from benchmarks.blocks import output_of, rewritten
from benchmarks.registry import BENCHMARKS

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
LATEST: Final = DOCS / "performance" / "latest.json"
PAGES: Final = ("performance.md", "capacity.md")
FEW_DIGITS: Final = 4


def merged(latest: Mapping[str, Any], found: report.Document) -> dict[str, Any]:
    """With every benchmark of a report in place of its earlier run; each run of a case is left out, its spread kept."""
    result = dict(latest)
    for name, cases in report.by_benchmark(found):
        machine = found["machine"]
        result[name] = {
            "date": found["date"],
            "commit": found["commit"],
            "machine": f"{machine['cpus']} CPUs of {machine['model']}, Python {machine['python']}",
            "load_average": round(machine["load_average"], 1),
            "quick": found["settings"]["quick"],
            "cases": [_short(case) for case in cases],
            "targets": [target for target in found["targets"] if target["benchmark"] == name],
        }
    order = [each.name for each in BENCHMARKS]
    return {name: result[name] for name in order if name in result}


def _short(case: Mapping[str, Any]) -> dict[str, Any]:
    """A case without its runs, figures to four digits: what a table shows."""
    kept = {name: value for name, value in case.items() if name not in ("runs", "benchmark")}
    further = list(case["runs"][0]["extra"])
    for name, value in kept.items():
        if isinstance(value, dict) and "median" in value:
            kept[name] = {part: float(f"{number:.{FEW_DIGITS}g}") for part, number in value.items()}
    return kept | {"further": further}


def targets_table(latest: Mapping[str, Any]) -> str:
    """Every target, by benchmark, with the day on which it was measured."""
    found = [target for each in latest.values() for target in each["targets"]]
    met = sum(target["met"] for target in found)
    short = [name for name, each in latest.items() if each["quick"]]
    told = f" Measured by short runs only: {', '.join(short)}." if short else ""
    return f"{met} of {len(found)} targets are met.{told}\n\n{report.targets_markdown(found)}"


def cases_table(latest: Mapping[str, Any], name: str) -> str:
    """The cases of one benchmark, and what they were measured on."""
    each = latest[name]
    short = ", a short run" if each["quick"] else ""
    told = (
        f"{each['date'][:10]}, {each['machine']}, load {each['load_average']:g} before{short}, commit {each['commit']}."
    )
    return f"{told}\n\n{report.cases_markdown(each['cases'])}"


def page_of(name: str, latest: Mapping[str, Any]) -> str:
    """A page of the documents as it should be: `targets`, `cases <benchmark>` and commands in its blocks."""

    def make(words: Sequence[str]) -> str:
        match words:
            case ["targets"]:
                return targets_table(latest)
            case ["cases", benchmark]:
                return cases_table(latest, benchmark)
            case _:
                return output_of(words)

    return rewritten((DOCS / name).read_text(encoding="utf-8"), make)


@click.command()
@click.argument("reports", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(reports: Sequence[Path]) -> None:
    """Merge REPORTS, as `make bench` writes them, and rewrite the documents."""
    latest = json.loads(LATEST.read_text(encoding="utf-8"))
    for path in reports:
        latest = merged(latest, json.loads(path.read_text(encoding="utf-8")))
    LATEST.write_text(json.dumps(latest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in PAGES:
        (DOCS / name).write_text(page_of(name, latest), encoding="utf-8")


if __name__ == "__main__":
    main()
