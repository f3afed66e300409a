"""The tree of failures: complete, unambiguous, and told the same in the code, in its drawing and in the handbook."""

import re
from typing import Final

import pytest

from bems_streams.domain import failures
from bems_streams.domain.failures import FAILURES, MAX_REASON_CHARS, Failure, InvalidEvent, Lane, Problem
from tests.support import REPOSITORY

PAGE: Final = (REPOSITORY / "docs" / "failures.md").read_text(encoding="utf-8")
BRANCHES: Final = {branch.__name__: branch for branch in Failure.__subclasses__()}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without backticks."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]


def leaves(kind: type[Failure]) -> list[type[Failure]]:
    """Every kind without kinds of its own."""
    return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]


def test_each_kind_has_a_code_of_its_own() -> None:
    """A code that two kinds share would hide one of them."""
    found = leaves(Failure)

    assert len(FAILURES) == len(found)
    assert {leaf.code: leaf for leaf in found} == FAILURES
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in FAILURES)


def test_a_branch_decides_for_all_its_kinds() -> None:
    """Whether it is retriable and where it goes is said once, at the branch."""
    for branch in BRANCHES.values():
        assert {(leaf.retriable, leaf.lane) for leaf in leaves(branch)} == {(branch.retriable, branch.lane)}
        assert branch.retriable is (branch.lane is not Lane.DEAD_LETTER)
    assert sorted(branch.lane for branch in BRANCHES.values()) == sorted(Lane)


def test_the_drawing_shows_the_tree() -> None:
    """Branches in order, each with its kinds and their codes, nothing more and nothing less."""
    drawn: dict[str, list[tuple[str, str]]] = {}
    for line in (failures.__doc__ or "").splitlines():
        if (branch := re.match(r" {4}[├└]── (\w+)", line)) is not None:
            drawn[branch[1]] = []
        elif (leaf := re.match(r" {4}[│ ] +[├└]── (\w+) +(\w+)$", line)) is not None:
            drawn[[*drawn][-1]].append((leaf[1], leaf[2]))

    assert drawn == {name: [(leaf.__name__, leaf.code) for leaf in leaves(branch)] for name, branch in BRANCHES.items()}
    assert list(drawn) == list(BRANCHES)


def test_the_handbook_has_each_kind_as_the_code_has_it() -> None:
    """In the order of the tree; each with a meaning and with something that an operator can do."""
    told = [row[:4] for row in rows("Codes")]

    assert told == [
        [kind.__name__, code, "yes" if kind.retriable else "no", kind.lane.value] for code, kind in FAILURES.items()
    ]
    assert all(len(row) == 6 and all(row) for row in rows("Codes"))


def test_the_handbook_explains_every_lane() -> None:
    """With the topic to look into."""
    assert [row[0] for row in rows("Lanes")] == list(Lane)
    assert all(len(row) == 3 and all(row) for row in rows("Lanes"))


@pytest.mark.parametrize("kind", FAILURES.values(), ids=lambda kind: kind.code)
def test_the_handbook_says_of_each_kind_what_the_code_says(kind: type[Failure]) -> None:
    """In one sentence, word by word."""
    meaning = next(row[4] for row in rows("Codes") if row[1] == kind.code)

    assert f"{meaning}." == kind.__doc__


def test_a_reason_names_every_problem_with_its_field() -> None:
    """On one line, in the order in which they were found."""
    failure = InvalidEvent((Problem("stage", "required"), Problem("", "not complete")))

    assert failure.reason == "stage: required; not complete"


def test_a_reason_without_end_is_cut_and_says_how_many_there_are() -> None:
    """A record full of nonsense must not make its dead letter too large."""
    reason = InvalidEvent(tuple(Problem(f"field-{number}", "unknown") for number in range(5_000))).reason

    assert reason.startswith("5000 problems: field-0: unknown; ")
    assert len(reason) < MAX_REASON_CHARS + 30
