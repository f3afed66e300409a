"""The tracker beside other engines that do the same work on the same topics: CPU, rate and memory, in turns.

Run `python -m benchmarks.tracker_peers [--quick] [--json FILE] [--only NAME]...`. Results are compared too: a peer
that came to other states, lost one, or did not commit, fails the run. Not here: the peers (peers/), what they did
against the targets (peers/targets.py), the tracker's own figures (tracker.py).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.cluster import cluster
from benchmarks.feed import Feed, Filled, Shape, fill, fill_topics
from benchmarks.figures import Case, Run, write_report
from benchmarks.peers import line_up, verdict
from benchmarks.peers.contest import FEW_CONFIG, Contest
from benchmarks.peers.environment import peers_python
from benchmarks.peers.kafka_streams_jars import classpath
from benchmarks.peers.subject import Backlog, Subject
from benchmarks.peers.targets import OURS, targets

SILENT: Final = ", no status"
FEW_SHAPE: Final = Shape(live_invoices=400)


class Size(NamedTuple):
    """Of a run."""

    events: int
    few: int
    rounds: int
    silent_too: bool


FULL: Final = Size(1_050_000, 30_000, 3, True)
QUICK: Final = Size(140_000, 5_000, 1, False)


class Turn(NamedTuple):
    """One run to come. `subject` None: the tracker."""

    name: str
    subject: Subject | None
    statuses: bool


@contextmanager
def contest(size: Size, partitions: int, seed: int, progress: Progress) -> Iterator[Contest]:
    """A broker with both backlogs."""
    with cluster(partitions=partitions) as running:
        catalogue, bootstrap = running.catalogue, running.bootstrap
        bar = progress.add_task("filling the topics", total=size.events)
        filled = fill(bootstrap, catalogue, size.events, seed, advance=lambda more: progress.advance(bar, more))
        progress.remove_task(bar)
        few_topics = {stage: f"few.{topic}" for stage, topic in catalogue.stage_topics.items()}
        verdict.create(bootstrap, list(few_topics.values()), partitions, FEW_CONFIG)
        few = fill_topics(bootstrap, few_topics, partitions, Feed(size.few, seed, FEW_SHAPE))
        journey = catalogue.journey()

        def backlog(topics: Mapping[str, str], what: Filled) -> Backlog:
            names = tuple(topics.values())
            return Backlog(bootstrap, names, partitions, journey, what.events, what.copies, what.invoices)

        folder = running.folder / "peers"
        folder.mkdir()
        yield Contest(catalogue, backlog(catalogue.stage_topics, filled), backlog(few_topics, few), folder)


def line_of(subjects: Sequence[Subject], *, silent_too: bool) -> Sequence[Turn]:
    """One round: the tracker first and in the middle, so that what the machine does meanwhile meets both sides."""
    turns = [Turn(subject.name, subject, True) for subject in subjects]
    if silent_too:
        turns += [Turn(subject.name + SILENT, subject, False) for subject in subjects if subject.publishes]
    ours = Turn(OURS, None, True)
    middle = len(turns) // 2
    return [ours, *turns[:middle], ours, *turns[middle:]]


def rounds_of(held: Contest, line: Sequence[Turn], rounds: int, progress: Progress) -> Iterator[dict[str, list[Run]]]:
    """All runs so far, after each round. Every other round goes backwards."""
    runs: dict[str, list[Run]] = {}
    bar = progress.add_task("", total=len(line) * rounds)
    for number in range(rounds):
        for turn in line if number % 2 == 0 else line[::-1]:
            progress.update(bar, description=turn.name)
            run = held.run_tracker() if turn.subject is None else held.run_peer(turn.subject, statuses=turn.statuses)
            runs.setdefault(turn.name, []).append(run)
            progress.advance(bar)
        yield runs


def cases_of(runs: Mapping[str, Sequence[Run]], line: Sequence[Turn], common: Mapping[str, object]) -> list[Case]:
    """The tracker first, then in the order of a round."""
    cases = []
    for turn in {turn.name: turn for turn in line}.values():
        settings = dict(common) | {"events": runs[turn.name][0].events}
        measures = "the same, with ledger, deadlines and exactly one transaction for all"
        if turn.subject is not None:
            settings |= turn.subject.settings
            settings |= {} if turn.statuses else {"statuses": "none"}
            measures = turn.subject.measures
        else:
            settings |= {"guarantee": "exactly once, fenced", "statuses": "per invoice and transaction"}
        cases.append(Case(turn.name, measures, settings, runs[turn.name]))
    return cases


COLUMNS: Final = {
    "cpu_us_per_event": ("CPU \u00b5s/event", 1, 1),
    "steady_cpu_us_per_event": ("second half", 1, 1),
    "started_cpu_us_per_event": ("with start", 1, 1),
    "events_per_second": ("events/s", 0, 1),
    "steady_events_per_second": ("second half", 0, 1),
    "peak_rss_bytes": ("peak RSS MB", 0, 1 << 20),
}


def show(cases: Sequence[Case], console: Console) -> None:
    """Medians, and the spread of each; the last column is our CPU per event over theirs."""
    table = Table("", *(title for title, _, _ in COLUMNS.values()), "tracker / this")
    ours = next(case for case in cases if case.name == OURS)
    for case in cases:
        cells = []
        for name, (_, digits, unit) in COLUMNS.items():
            spread = case.spread(name)
            median, lowest, highest = (value / unit for value in (spread.median, spread.lowest, spread.highest))
            cells.append(f"{median:,.{digits}f} ({lowest:,.{digits}f}-{highest:,.{digits}f})")
        ratio = ours.spread("cpu_us_per_event").median / case.spread("cpu_us_per_event").median
        table.add_row(case.name, *cells, f"{ratio:.2f}")
    console.print(table)


def subjects_of(folder: Path, progress: Progress) -> list[Subject]:
    """All peers; what they need is fetched when it is not there yet."""
    bar = progress.add_task("", total=None)

    def tell(text: str) -> None:
        progress.update(bar, description=text)

    path = classpath(folder / "classes", tell)
    found = [*line_up.consumers(), line_up.quix(peers_python(tell)), *line_up.streams(path), line_up.faust()]
    progress.remove_task(bar)
    return found


@click.command()
@click.option("--events", type=click.IntRange(10_000), help=f"In the topics. [{FULL.events}]")
@click.option("--rounds", type=click.IntRange(1), help=f"Medians are shown. [{FULL.rounds}]")
@click.option("--partitions", type=click.IntRange(1), default=8, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--only", multiple=True, metavar="NAME", help="Only peers whose names begin so; may be repeated.")
@click.option("--no-status", "no_status", is_flag=True, help="Also in a short run: each engine without statuses too.")
@click.option("--quick", is_flag=True, help="One short round: shows that all works; a JVM is cold in it.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(
    events: int | None,
    rounds: int | None,
    partitions: int,
    seed: int,
    only: Sequence[str],
    *,
    no_status: bool,
    quick: bool,
    json_path: Path | None,
) -> None:
    """Measure the tracker beside other engines."""
    size = QUICK if quick else FULL
    size = Size(events or size.events, size.few, rounds or size.rounds, no_status or size.silent_too)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress, contest(size, partitions, seed, progress) as held:
        found = subjects_of(held.folder, progress)
        chosen = [subject for subject in found if not only or subject.name.startswith(tuple(only))]
        line = line_of(chosen, silent_too=size.silent_too)
        common = {"partitions": partitions, "seed": seed, "brokers": 1}
        for runs in rounds_of(held, line, size.rounds, progress):
            cases = cases_of(runs, line, common)
            if json_path is not None:  # after each round: what was measured so far survives a Ctrl-C
                write_report(json_path, cases, targets(cases))
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    show(cases, console)
    for target in targets(cases):
        console.print(
            f"{'met   ' if target.met else 'MISSED'}  {target.name}: {target.value:.2f}, goal {target.goal:g}"
        )


if __name__ == "__main__":
    main()
