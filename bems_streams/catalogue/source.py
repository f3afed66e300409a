"""Reads YAML into plain values and remembers the line of every value. Not here: what the values must be.

Keys written twice are reported, because YAML readers silently keep the last one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

Location = tuple[str | int, ...]


class SourceProblem(NamedTuple):
    """Something wrong at a place of the document (an empty place: the whole)."""

    at: Location
    message: str


class Source(NamedTuple):
    """A document with the line (from 1) of each of its values, and what is wrong with it as YAML."""

    value: Any
    lines: Mapping[Location, int]
    problems: tuple[SourceProblem, ...]

    def line_of(self, at: Location) -> int:
        """The line of a place, or of the nearest place around it that exists."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)


def read_source(path: Path) -> Source:
    """Read one document. OSError when the file cannot be read; bad YAML is a problem, not an exception."""
    raw = path.read_bytes()
    try:
        loader = yaml.SafeLoader(raw.decode())
        root = loader.get_single_node()
        if root is None:
            return Source({}, {}, ())
        lines: dict[Location, int] = {}
        problems: list[SourceProblem] = []
        _walk(root, (), lines, problems)
        return Source(loader.construct_document(root), lines, tuple(problems))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        what = getattr(error, "problem", None) or str(error)
        return Source(None, {(): line}, (SourceProblem((), f"not readable as YAML: {what}; correct the syntax here"),))


def _walk(node: Node, at: Location, lines: dict[Location, int], problems: list[SourceProblem]) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, (*at, index), lines, problems)
    elif isinstance(node, MappingNode):
        seen: dict[str, int] = {}
        for key, child in node.value:
            name = str(key.value)
            place = (*at, name)
            line = key.start_mark.line + 1
            if name in seen:
                problems.append(
                    SourceProblem(place, f"written twice (lines {seen[name]} and {line}); keep one of them")
                )
            seen[name] = line
            lines[place] = line
            _walk(child, place, lines, problems)
