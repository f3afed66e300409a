"""The comparison with other engines: what marks tell, when results are equal, which ratio meets which target."""

import sys
from dataclasses import replace
from pathlib import Path

import click
import msgspec
import pytest
from rich.console import Console

from bems_streams.domain.codec import TrackedInvoice
from bems_streams.local.kafka_dist import kafka_version, pinned_jars
from bems_streams.topics import load_catalogue
from benchmarks.feed import Feed
from benchmarks.figures import Case, Run
from benchmarks.peers import line_up
from benchmarks.peers.contest import Contest
from benchmarks.peers.invoices import BadEventError, Invoices
from benchmarks.peers.kafka_streams_jars import LOCK
from benchmarks.peers.results import Results
from benchmarks.peers.subject import Backlog, Subject, drain, read_marks, run_of
from benchmarks.peers.targets import OURS, targets
from benchmarks.peers.task import Mark, Marks, Task
from benchmarks.tracker_peers import cases_of, line_of, show

EVENTS = 700
NOW_MS = 1_772_500_000_000


def backlog() -> Backlog:
    feed = Feed(EVENTS, seed=5)
    for _ in feed:
        pass
    journey = load_catalogue().journey()
    return Backlog("127.0.0.1:1", ("a", "b"), 2, journey, EVENTS, feed.copies, feed.invoices)


def task(folder: Path) -> Task:
    return backlog().task("group", "status", folder)


def statuses(folder: Path, order: int = 1) -> list[bytes]:
    """Of all invoices of the feed, folded in the order of the feed or backwards."""
    invoices, states = Invoices(task(folder)), dict[bytes, TrackedInvoice]()
    for place, record in list(enumerate(dict.fromkeys(Feed(EVENTS, seed=5))))[::order]:
        invoices.take(states.setdefault(record.key, TrackedInvoice.new()), record.value, NOW_MS + place)
    return [invoices.status(key, invoice) for key, invoice in states.items()]


def results(documents: list[bytes]) -> dict[str, int]:
    found = Results()
    for document in documents:
        found.add(document)
    return found.document()


def test_the_whole_run_ends_with_the_commit_and_half_of_that_counts_for_the_second_half() -> None:
    """A final commit writes what all events changed."""
    marks = {
        "first": Mark(name="first", events=0, seconds=10.0, cpu_seconds=1.0),
        "half": Mark(name="half", events=500, seconds=12.0, cpu_seconds=2.0),
        "last": Mark(name="last", events=1000, seconds=13.0, cpu_seconds=2.5),
        "durable": Mark(name="durable", events=1000, seconds=15.0, cpu_seconds=2.7),
    }

    run = run_of(marks, 7)

    assert (run.events, run.seconds, run.peak_rss_bytes) == (1000, 5.0, 7)
    assert run.cpu_us_per_event == pytest.approx(1700)
    assert run.extra["steady_cpu_us_per_event"] == pytest.approx(1e6 * 0.6 / 500)
    assert run.extra["steady_events_per_second"] == pytest.approx(500)
    assert run.extra["started_cpu_us_per_event"] == pytest.approx(2700)


def test_a_peer_marks_the_first_the_half_and_the_last_event(tmp_path: Path) -> None:
    """Whether it counts events or batches; only the last is told to it."""
    wanted = task(tmp_path)
    marks = Marks(wanted)
    marks.begin()

    told = [marks.add(90) for _ in range(8)]
    marks.write("durable", {"events": 3})

    found = read_marks(Path(wanted.marks))
    assert {name: mark.events for name, mark in found.items()} == {"first": 0, "half": 360, "last": 720, "durable": 720}
    assert told == [False] * 7 + [True]
    assert found["durable"].results == {"events": 3}


def test_a_mark_that_is_still_being_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    """A peer writes while it is watched."""
    whole = msgspec.json.encode(Mark(name="first", events=0, seconds=1.0, cpu_seconds=1.0)) + b"\n"
    (tmp_path / "marks").write_bytes(whole + whole[:20])

    assert set(read_marks(tmp_path / "marks")) == {"first"}


def test_results_do_not_depend_on_the_order_in_which_events_came(tmp_path: Path) -> None:
    """Engines read the four topics in different orders, and publish after different events."""
    assert results(statuses(tmp_path)) == results(statuses(tmp_path, -1)[::-1])


def test_results_tell_how_many_invoices_and_different_events_there_are(tmp_path: Path) -> None:
    """As the feed counts them."""
    known = backlog()

    found = results(statuses(tmp_path))

    assert found["invoices"] == known.invoices
    assert found["events"] == known.events - known.copies


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"stage":"ingestion"', b'"stage":"posting"'), (b'"pqv":"0"', b'"pqv":"1"'), (b"EUR", b"USD")],
)
def test_one_other_fact_of_one_invoice_makes_other_results(tmp_path: Path, old: bytes, new: bytes) -> None:
    """A peer that does part of the work is found out."""
    documents = statuses(tmp_path)
    place = next(place for place, document in enumerate(documents) if old in document)

    wrong = [*documents[:place], documents[place].replace(old, new), *documents[place + 1 :]]

    assert results(wrong) != results(documents)


def test_who_made_a_document_and_when_is_no_part_of_the_results(tmp_path: Path) -> None:
    """Engines publish an invoice more or less often, so its revision differs."""
    documents = statuses(tmp_path)

    assert results([document.replace(b'"revision":', b'"revision":9') for document in documents]) == results(documents)


def test_a_peer_with_other_results_fails_the_run(tmp_path: Path) -> None:
    """So does the first, when it disagrees with the feed."""
    known = backlog()
    held = Contest(load_catalogue(), known, known, tmp_path)
    right = results(statuses(tmp_path))

    held.agree("first", known, right)
    held.agree("second", known, right)

    with pytest.raises(click.ClickException, match="third came to other results"):
        held.agree("third", known, right | {"digest": 1})
    with pytest.raises(click.ClickException, match="early came to other results"):
        Contest(load_catalogue(), known, known, tmp_path).agree("early", known, right | {"events": 1})


def test_a_bad_event_stops_a_peer(tmp_path: Path) -> None:
    """Every peer validates; a feed with bad events would be measured as something else."""
    with pytest.raises(BadEventError):
        Invoices(task(tmp_path)).change(None, b'{"event_id":"1"}', NOW_MS)


def run(cpu_us: float, events: int = 1000) -> Run:
    extra = {"steady_cpu_us_per_event": cpu_us / 2, "steady_events_per_second": 1.0, "started_cpu_us_per_event": cpu_us}
    return Run(events, 1.0, cpu_us * events / 1e6, 50 << 20, extra)


def test_targets_are_ratios_of_medians_to_the_fastest_of_a_kind() -> None:
    """Of two bare loops, the faster is the practical limit."""
    subjects = [*line_up.consumers(), line_up.faust()]
    line = line_of(subjects, silent_too=True)
    costs = {OURS: 10.0, "bare loop, confluent": 4.0, "bare loop, aiokafka": 5.0, line_up.FAUST: 200.0}
    runs = {turn.name: [run(costs.get(turn.name, 1.0)) for _ in range(3)] for turn in line}
    cases = cases_of(runs, line, {"seed": 1})

    found = {target.name: target for target in targets(cases)}

    assert found["tracker / bare loop, CPU per event"].value == pytest.approx(2.5)
    assert not found["tracker / bare loop, CPU per event"].met
    assert found["tracker / stock faust, CPU per event"].value == pytest.approx(0.05)
    assert found["tracker / stock faust, CPU per event"].met
    assert not any("quix" in name for name in found)
    console = Console(record=True, width=200)
    show(cases, console)
    assert "stock faust, no status" in console.export_text()


@pytest.mark.parametrize(("events", "judged"), [(280_000, [1.0]), (1_050_000, [1.5, 1.0])])
def test_the_second_half_is_judged_only_in_a_run_long_enough_to_warm_a_jvm(events: int, judged: list[float]) -> None:
    """In a short one the tracker would seem to win."""
    ours, theirs = run(20.0, events), run(20.0, events)
    theirs = replace(theirs, extra={**theirs.extra, "steady_cpu_us_per_event": 10.0 / 1.5})

    found = targets([Case(OURS, "", {}, [ours]), Case(line_up.TUNED, "", {}, [theirs])])

    assert [target.value for target in found] == pytest.approx(judged)


def test_a_round_has_the_tracker_at_its_beginning_and_in_its_middle() -> None:
    """What else the machine does meanwhile meets both sides."""
    names = [turn.name for turn in line_of(line_up.consumers(), silent_too=False)]

    assert [place for place, name in enumerate(names) if name == OURS] == [0, 3]
    assert sorted(set(names)) == sorted([OURS, *(subject.name for subject in line_up.consumers())])


def test_kafka_streams_is_pinned_in_the_version_of_the_broker() -> None:
    """Whoever updates one updates both; every jar is hashed."""
    pinned = {jar.artifact: jar for jar in pinned_jars(LOCK)}

    assert pinned["kafka-streams"].version == pinned["kafka-clients"].version == kafka_version(pinned_jars())
    assert {"rocksdbjni", "jackson-databind", "ecj"} <= set(pinned)
    assert all(len(jar.sha256) == 64 for jar in pinned.values())


def test_a_peer_that_ends_before_the_last_event_is_no_figure(tmp_path: Path) -> None:
    """A loop that took a short silence for the end wrote every mark but the last."""
    known = backlog()
    script = tmp_path / "early.py"
    script.write_text(
        "import sys\n"
        "from benchmarks.peers.task import Marks, read_task\n"
        "marks = Marks(read_task())\n"
        "marks.begin()\n"
        "marks.add(600)\n"
        "marks.write('durable')\n"
    )
    early = Subject("early", "nothing", (sys.executable, "-c", f"import runpy; runpy.run_path({str(script)!r})"))

    with pytest.raises(click.ClickException, match="early ended with 0 after the marks first, half, durable"):
        drain(early, known.task("group", None, tmp_path), tmp_path)
