"""What the documents name exists: files, sections of the repository, targets of make, commands of bems."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bems_streams.cli.main import main
from tests.support import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)|(?:src|href)=\"(?!https?://)([^\"#]+)")
CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
FILE = re.compile(r"[a-z_]+(?:/[a-z_]+)+\.py")


def code(page: Path) -> Iterator[str]:
    """Every line of shell blocks, and every piece of code within a sentence."""
    for block, piece in CODE.findall(page.read_text(encoding="utf-8")):
        yield from (block or piece).splitlines()


def named(page: Path, program: str) -> set[str]:
    """The word after the program's name, wherever a page shows how to call it."""
    return {word for line in code(page) for word in re.findall(rf"(?:^|[;&] *|bash ){program} ([a-z]+)", line)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    """Relative ones; what others host is theirs."""
    targets = [one or other for one, other in LINK.findall(page.read_text(encoding="utf-8"))]

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_source_files_that_are_named_exist(page: Path) -> None:
    """By their path in the repository, or within the package."""
    paths = {path for line in code(page) for path in FILE.findall(line)}

    assert [
        path for path in sorted(paths) if not any((REPOSITORY / top / path).exists() for top in ("", "bems_streams"))
    ] == []


def test_shown_targets_and_commands_exist() -> None:
    """A renamed command would make the first page wrong."""
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = set(main.list_commands(click.Context(main)))
    shown_targets = set().union(*(named(page, "make") for page in PAGES))
    shown_commands = set().union(*(named(page, "bems") for page in PAGES))

    assert {"demo", "test"} <= shown_targets <= targets
    assert {"stuck", "invoice", "export", "feed", "simulate", "topics"} <= shown_commands <= commands
