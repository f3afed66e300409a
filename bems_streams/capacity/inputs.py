"""What the computation starts from: measured figures, assumptions and prices, each with its unit and where it is from.

They come with the package (measured.toml, assumptions.toml) and may be replaced one by one, by a file or by name.
Not here: the computation (plan.py).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Final

FILES: Final = tuple(Path(__file__).with_name(name) for name in ("measured.toml", "assumptions.toml"))
FROM_OPTION: Final = "given on the command line"
SHARES: Final = frozenset({"utilisation", "mean_share_of_peak", "replica_cpu_share", "zone_crossing_share"})
MAY_BE_ZERO: Final = frozenset({"downstream_readers", "replica_cpu_share", "zone_crossing_share"})


class InputError(Exception):
    """Inputs that cannot be used. The message has one line for each that is wrong."""


@dataclass(frozen=True, slots=True)
class Input:
    """One figure, and why it is believed."""

    name: str
    value: float
    unit: str
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """All of them, by name."""

    all: Mapping[str, Input]

    def __getitem__(self, name: str) -> float:
        return self.all[name].value

    def changed(self, values: Mapping[str, float], source: str) -> "Inputs":
        """With other values. InputError names every one that does not exist or cannot be."""
        problems = [problem for name, value in values.items() if (problem := self._problem(name, value))]
        if problems:
            raise InputError("\n".join(problems))
        changed = {name: replace(self.all[name], value=value, source=source) for name, value in values.items()}
        return Inputs({**self.all, **changed})

    def _problem(self, name: str, value: object) -> str | None:
        if name not in self.all:
            return f"{name}: there is no such input; `bems capacity --inputs` lists them"
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            return f"{name}: {value!r} is not a number"
        if value < 0 or (not value and name not in MAY_BE_ZERO and not self.all[name].unit.startswith("$")):
            return f"{name}: {value:g} is too little"
        if name == "utilisation" and value >= 1:
            return f"{name}: {value:g} leaves nothing to catch up with; give less than 1"
        if name in SHARES and value > 1:
            return f"{name}: {value:g} is a share, at most 1"
        return None


def default_inputs() -> Inputs:
    """Those that come with the package."""
    found: dict[str, Input] = {}
    for path in FILES:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        found.update({name: Input(name, **entry) for name, entry in document.items()})
    return Inputs(found)


def read_values(path: Path) -> Mapping[str, Any]:
    """A TOML file of one's own: `name = value` for what differs. InputError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def parse_values(assignments: Sequence[str]) -> tuple[Mapping[str, float], Sequence[str]]:
    """`name=value` of each --set, and what is wrong with those that are not of this form."""
    values: dict[str, float] = {}
    problems: list[str] = []
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        try:
            values[name.strip()] = float(text)
        except ValueError:
            problems.append(f"{name}: {text!r} is not a number" if equals else f"{assignment}: write NAME=NUMBER")
    return values, problems
