"""The report of a proof: nothing is called kept that was not, and the page shows what the document says."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bems_streams.local.prove.entry import Entry
from bems_streams.local.prove.evidence import Finding, Verdict
from bems_streams.local.prove.guarantees import GUARANTEES
from bems_streams.local.prove.load_books import Counters
from bems_streams.local.prove.page import page
from bems_streams.local.prove.proof import Proof, document
from bems_streams.local.prove.samples import Sample, Visible
from bems_streams.local.prove.site import ProveOptions
from bems_streams.local.prove.timeline import POINTS, per_second, thinned, timeline
from tests.unit.prove_kit import planned, verdict

SURVIVED = Entry(planned("kill-sink", "sink-0"), 5.0, 5.1, 9.0, 100, 150)
FATAL = Entry(planned("lose-broker", "broker-2", number=2), 20.0, 31.0, None, 300, 400, "sink-0 restoring")
GOOD = verdict()
SAMPLES = [Sample(float(second), second * 100, second * 100, second * 95, second * 3) for second in range(40)]


def proof(judged: Verdict = GOOD, entries: tuple[Entry, ...] = (SURVIVED,), **changes: Any) -> Proof:
    """One that closes, unless told otherwise."""
    made = Proof(
        ProveOptions(Path("/nowhere"), 1.0, 100.0, 42), [SURVIVED.planned], entries, SAMPLES,
        Visible(1000, 40.0, 90.0, 200.0, 12_000.0), Counters(), {"sink-0": 1}, judged, 60.0, interrupted=False,
    )  # fmt: skip
    return replace(made, **changes)


LOST = verdict(1, [Finding("G1", "was never stored", "proof-1/invoices.posting/3/17", "e-17", "INV-9")])


def test_a_proof_in_which_all_is_well_is_closed() -> None:
    """With the numbers that tell a machine so."""
    found = document(proof())

    assert {name: found[name] for name in ("closed", "accepted", "missing", "faults", "seed")} == {
        "closed": True, "accepted": 1000, "missing": 0, "faults": 1, "seed": 42,
    }  # fmt: skip
    assert all(guarantee["kept"] for guarantee in found["guarantees"].values())
    assert found["guarantees"]["G2"]["attacked_by"] == {"kill-sink": 1}
    assert found["fault_counts"] == {"kill-sink": {"injected": 1, "survived": 1}}


@pytest.mark.parametrize(
    ("spoiled", "broken"),
    [
        (proof(LOST), "G1"),
        (proof(entries=(SURVIVED, FATAL)), "G1"),
        (proof(problems=[Finding("proof", "the load ended by itself")]), None),
        (proof(Verdict(verdict().totals, [], {"G4": 3})), "G4"),
    ],
    ids=["judge", "fault", "proof itself", "counted only"],
)
def test_anything_wrong_keeps_a_proof_from_closing(spoiled: Proof, broken: str | None) -> None:
    """A finding of the judge, a fault that was not survived, trouble of the proof's own; named or only counted."""
    found = document(spoiled)

    assert not spoiled.closed
    assert found["closed"] is False
    assert {name for name, guarantee in found["guarantees"].items() if not guarantee["kept"]} == {broken} - {None}


def test_faults_that_were_not_survived_do_not_count() -> None:
    """`faults` is what was survived; the log has all of them, with what was missing."""
    found = document(proof(entries=(SURVIVED, FATAL)))

    assert (found["faults"], found["faults_injected"]) == (1, 2)
    assert found["fault_log"][1]["survived"] is False
    assert found["fault_log"][1]["missing"] == "sink-0 restoring"
    assert found["fault_log"][0]["accepted_meanwhile"] == 50


class Tags(HTMLParser):
    """What is in a page: its text, whether each tag is closed, and what it would fetch."""

    VOID = ("meta", "br", "rect", "line", "polyline", "polygon", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Noted."""
        self.fetched += [str(value) for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Nothing to close."""

    def handle_endtag(self, tag: str) -> None:
        """It must close what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Kept."""
        self.text += data + " "


def read(html: str) -> Tags:
    """Parse it; every tag must be closed."""
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    return tags


def test_the_page_says_first_that_every_promise_was_kept() -> None:
    """Then the numbers, each promise, each fault, and how to repeat it."""
    text = read(page(document(proof()))).text

    assert text.index("Every promise was kept.") < text.index("What happened")
    assert "0 of 1,000 events are missing" in text
    assert "bems prove --minutes 1 --rate 100 --seed 42" in text
    assert all(promise in text for promise in GUARANTEES.values())
    assert "kept, not attacked" in text
    assert "not survived" not in text


def test_the_page_names_what_is_missing() -> None:
    """By receipt and event id, and the fault that was fatal by what did not come back."""
    text = read(page(document(proof(LOST, (SURVIVED, FATAL))))).text

    assert "A promise was broken." in text
    assert "1 of 1,000 events are missing" in text
    assert "proof-1/invoices.posting/3/17 e-17 INV-9" in text
    assert "not survived" in text
    assert "sink-0 restoring" in text


def test_the_page_needs_nothing_else() -> None:
    """It can be mailed: no address in it is fetched."""
    html = page(document(proof()))

    assert read(html).fetched == []
    assert "url(" not in html
    assert "@import" not in html


def test_what_others_wrote_is_text_not_markup() -> None:
    """An event id may be anything."""
    nasty = verdict(0, [Finding("G1", "<script>1</script>", None, "<script>2</script>", None)])

    assert "<script" not in page(document(proof(nasty)))


def test_the_picture_has_a_bar_for_every_fault() -> None:
    """Told apart by outcome, with their story for whoever points at them."""
    picture = timeline(document(proof(entries=(SURVIVED, FATAL))))

    assert len(re.findall('<g class="survived">', picture)) == 1
    assert len(re.findall('<g class="fatal">', picture)) == 1
    assert "<title>kill-sink sink-0 at 5 s: a sink is killed (-9); survived after 4.0 s</title>" in picture
    assert "not survived: sink-0 restoring" in picture


def test_a_proof_that_was_cut_short_at_once_has_a_page_too() -> None:
    """No sample, no fault, nothing seen."""
    empty = proof(entries=(), samples=[], visible=Visible(0, None, None, None, None), interrupted=True)

    assert "It was ended early." in read(page(document(empty))).text


def test_pace_is_what_a_total_grows_by() -> None:
    """Per second, whatever the distance of the samples; a total that was looked at again falls to nothing."""
    samples = [
        {"seconds": 0.0, "n": 0},
        {"seconds": 2.0, "n": 50},
        {"seconds": 2.0, "n": 60},
        {"seconds": 3.0, "n": 55},
    ]

    assert per_second(samples, lambda sample: sample["n"]) == [(2.0, 25.0), (3.0, 0.0)]


def test_long_proofs_have_no_more_points_than_short_ones() -> None:
    """The worst visibility of what is left out is kept."""
    samples = [{"seconds": float(n), "p99_ms": 9000.0 if n == 7 else None if n > 3000 else 50.0} for n in range(4000)]

    found = thinned(samples)

    assert len(found) <= POINTS
    assert max(sample["p99_ms"] or 0.0 for sample in found) == 9000.0
    assert found[-1]["p99_ms"] is None
