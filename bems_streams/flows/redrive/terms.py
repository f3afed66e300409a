"""What a redrive may touch, and the words for what is expected and what comes of each dead letter.

Not here: finding it out (plan.py, predict.py), doing it (run.py).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bems_streams.flows.dead_letters import Filter

MAX_REDRIVES: Final = 3


class Verdict(StrEnum):
    """What is to become, or became, of one dead letter."""

    STORED = "stored"  # by the tracker: folded
    DUPLICATE = "duplicate"
    STILL_FAILING = "still_failing"
    ALREADY_HANDLED = "already_handled"  # since it died: not sent
    GUARDED = "guarded"  # sent too often already: not sent
    UNSENDABLE = "unsendable"  # no agent could tell where it came from: not sent
    PENDING = "pending"  # a result only: the agent has not come to it yet
    MISSING = "missing"  # a result only: the agent says it is done, and nothing shows it


SENT: Final = (Verdict.STORED, Verdict.DUPLICATE, Verdict.STILL_FAILING)
NOT_SENT: Final = (Verdict.ALREADY_HANDLED, Verdict.GUARDED, Verdict.UNSENDABLE)


@dataclass(frozen=True, slots=True)
class Terms:
    """Which dead letters of one agent; `filter.agent` is it. `limit`: send at most so many, None for all."""

    agent: str
    filter: Filter
    max_redrives: int = MAX_REDRIVES
    limit: int | None = None
