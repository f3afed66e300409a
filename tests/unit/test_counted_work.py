"""Handling an event takes no more work than when it was last recorded: counted, so that a busy machine changes nothing.

Bounds: counted_work.json. What is counted: counted_work.py; how: counting.py.
"""

from collections.abc import Callable, Mapping

import pytest

from tests.unit import counted_work
from tests.unit.counted_work import PYTHON, SQL, SUBJECTS, recorded
from tests.unit.counting import Work, count

TOLERATED = 1.12
"""Room for another release of a library; a step more in a hot path costs more than that."""

ADVICE = (
    "\nMore is done for each event than when this was recorded. If it need not be, take it out of the hot path. If it "
    "is worth it, say in the commit what it is for, and record the counts anew, once with each Python:\n"
    "    python -m tests.unit.counted_work --record"
)
Subjects = Mapping[str, tuple[Callable[[], object], int]]


@pytest.fixture(scope="module")
def subjects() -> Subjects:
    """Made once."""
    return counted_work.subjects()


def refuse_more(subject: str, counts: Mapping[str, float]) -> None:
    """Fail for every counter that is above its bound."""
    known = recorded().get(PYTHON, {}).get(subject)
    assert known, f"nothing is recorded for {subject!r} and Python {PYTHON}: python -m tests.unit.counted_work --record"
    more = [
        f"{subject}: {now:,.2f} {counter}, recorded {known[counter]:,.2f}, allowed {known[counter] * TOLERATED:,.2f}"
        for counter, now in counts.items()
        if now > known[counter] * TOLERATED
    ]
    assert not more, "\n".join(more) + ADVICE


def test_every_subject_is_guarded(subjects: Subjects) -> None:
    """One that is counted and not tested would only look guarded."""
    assert set(subjects) == set(SUBJECTS)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_an_event_takes_no_more_work_than_recorded(subjects: Subjects, subject: str) -> None:
    """Instructions of Python, calls into C and memory at the peak, per event."""
    refuse_more(subject, count(*subjects[subject])._asdict())


def test_a_batch_of_the_sink_takes_no_more_statements_than_recorded() -> None:
    """And one transaction, however many events there are."""
    counts = counted_work.sql(counted_work.raw_records())

    assert counts["transactions"] == 1
    refuse_more(SQL, counts)


def test_counting_is_exact() -> None:
    """The same work is counted the same, and more work as more."""
    few, many = [0] * 10, [0] * 20

    def work(items: list[int]) -> Work:
        return count(lambda: [len(str(item)) for item in items], 1)

    assert work(few)[:2] == work(few)[:2]
    assert work(many).instructions > work(few).instructions
    assert work(many).c_calls == work(few).c_calls + 10


def test_more_work_than_recorded_is_refused_and_the_message_says_what_to_do() -> None:
    """Whoever meets it at three in the morning need not read this file."""
    known = recorded()[PYTHON]["parse"]

    with pytest.raises(AssertionError, match="record the counts anew") as refused:
        refuse_more("parse", {"instructions": known["instructions"] * 1.2})

    assert f"recorded {known['instructions']:,.2f}" in str(refused.value)
    refuse_more("parse", {"instructions": known["instructions"] * 1.1})
