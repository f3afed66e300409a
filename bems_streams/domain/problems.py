"""How bad input is described: a code for machines, and every problem with its path for people.

Not here: HTTP (gateway) or dead letters (flows), which only carry these values.
"""

from enum import StrEnum
from typing import Final, NamedTuple

MAX_REASON_CHARS: Final = 2_000
"""A record full of nonsense has thousands of problems; naming all in a header would make its dead letter too large."""


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
        """The problems on one line, for headers and logs: cut at MAX_REASON_CHARS, which says how many there are."""
        line = "; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in self.problems)
        if len(line) <= MAX_REASON_CHARS:
            return line
        return f"{len(self.problems)} problems: {line[:MAX_REASON_CHARS]}…"
