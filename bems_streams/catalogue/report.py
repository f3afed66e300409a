"""Reads a catalogue file and gathers everything that is wrong with it, all at once. Not here: the rules themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from bems_streams.catalogue.rules import broken_rules
from bems_streams.catalogue.source import Source, SourceProblem, read_source


class CatalogueProblem(NamedTuple):
    """One thing that is wrong: where in the file (`line` 0: not in the file), and what to do."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class CatalogueError(Exception):
    """The catalogue cannot be used. `problems` has all of them; the message lists them, one a line."""

    def __init__(self, source: str, problems: Sequence[CatalogueProblem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source} has {count}:", *(f"  {problem}" for problem in self.problems)]))


class Report:
    """The findings about one file, with the values that are overridden from outside."""

    def __init__(self, path: Path, overrides: Mapping[str, int]) -> None:
        self._path = path
        self._overrides = overrides
        self._source = Source(None, {}, ())
        self.problems: list[SourceProblem] = []

    def read(self) -> dict[str, Any]:
        """The document with overrides, after checking what its entries say together.

        CatalogueError when the file cannot be read or is no mapping.
        """
        try:
            self._source = read_source(self._path)
        except OSError as error:
            advice = f"cannot be read ({error.strerror}); name the catalogue with BEMS_CATALOGUE or --catalogue"
            raise CatalogueError(str(self._path), [CatalogueProblem("", 0, advice)]) from error
        self.problems += self._source.problems
        document = self._source.value
        if not isinstance(document, dict):
            if not self.problems:
                self.problems.append(SourceProblem((), "must be a mapping with `stages`, `agents`, `topics` and so on"))
            raise self.error()
        document = {**document, **self._overrides}
        self.problems += broken_rules(document)
        return document

    def add_findings(self, error: ValidationError) -> None:
        """Add what is wrong with single entries."""
        self.problems += [SourceProblem(detail["loc"], _advice(detail)) for detail in error.errors()]

    def error(self) -> CatalogueError:
        """All problems, in the order of the file."""
        described = sorted((self._described(problem) for problem in self.problems), key=lambda problem: problem.line)
        return CatalogueError(str(self._path), described)

    def _described(self, problem: SourceProblem) -> CatalogueProblem:
        place = ".".join(str(part) for part in problem.at)
        if problem.at and problem.at[0] in self._overrides:
            return CatalogueProblem(f"{place} (overridden)", 0, problem.message)
        return CatalogueProblem(place, self._source.line_of(problem.at), problem.message)


def _advice(detail: Any) -> str:
    """pydantic's finding, and what to do."""
    if detail["type"] == "extra_forbidden":
        return "unknown key; correct its spelling or remove it"
    if detail["type"] == "missing":
        return "missing; add it"
    if detail["type"] == "too_short":
        return "empty; name at least one"
    message = str(detail["msg"]).removeprefix("Value error, ")
    given = detail["input"]
    show = isinstance(given, str | int | float) and repr(given) not in message
    return f"{message}, got {given!r}" if show else message
