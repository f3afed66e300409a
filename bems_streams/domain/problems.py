"""How bad input is described: a code for machines, and every problem with its path for people.

Not here: HTTP (gateway) or dead letters (flows), which only carry these values.
"""

from enum import StrEnum
from typing import NamedTuple


class RejectionCode(StrEnum):
    """Why a record is not an event. Bounded, because it becomes a metric label and a dead-letter header."""

    NOT_JSON = "not_json"
    INVALID = "invalid_event"
    TOO_LARGE = "too_large"
    WRONG_STAGE = "wrong_stage"
    WRONG_KEY = "wrong_key"
    UNFOLDABLE = "unfoldable"


class Problem(NamedTuple):
    """One thing that is wrong: `path` below the event (`attributes.colour`; empty for the whole), and what to do."""

    path: str
    message: str


class Rejected(NamedTuple):
    """An outcome, not an exception: the record stays as it is and goes to a dead-letter topic or back to its sender."""

    code: RejectionCode
    problems: tuple[Problem, ...]

    @property
    def reason(self) -> str:
        """All problems on one line, for headers and logs."""
        return "; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in self.problems)
