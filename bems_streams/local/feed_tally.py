"""Counts what becomes of offered events, and tells whoever watches.

Not here: sending (feeder.py), showing (feed_report.py).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bems_streams.local.feed_types import FeedProgress, FeedSummary, Outcome, Refusal, StageCounts

MOST_STAGES: Final = 32  # a file full of made-up stage names must not fill the memory
OTHER_STAGES: Final = "(other)"
NO_STAGE: Final = "(none)"


class Tally:
    """The counts of one run. `stopped`: why it ended early."""

    def __init__(self, on_progress: Callable[[FeedProgress], None], on_refused: Callable[[Refusal], None]) -> None:
        self._on_progress = on_progress
        self._on_refused = on_refused
        self._started = time.monotonic()
        self._offered = 0
        self._outcomes: dict[str, Counter[Outcome]] = {}
        self._totals: Counter[Outcome] = Counter()
        self._offsets: dict[str, int] = {}
        self._waiting: list[str] = []
        self.requests = 0
        self.retries = 0
        self.stopped: str | None = None

    def offered(self) -> None:
        """One more event came from the source."""
        self._offered += 1

    def accepted(self, stage: str, partition: str, offset: int) -> None:
        """One event was answered 202."""
        self._count(stage, Outcome.ACCEPTED)
        if partition:
            self._offsets[partition] = max(offset, self._offsets.get(partition, 0))

    def refused(self, refusal: Refusal) -> None:
        """One event was rejected or given up."""
        self._count(refusal.stage or NO_STAGE, refusal.outcome)
        self._on_refused(refusal)

    def _count(self, stage: str, outcome: Outcome) -> None:
        if stage not in self._outcomes and len(self._outcomes) >= MOST_STAGES:
            stage = OTHER_STAGES
        self._outcomes.setdefault(stage, Counter())[outcome] += 1
        self._totals[outcome] += 1

    @contextmanager
    def waiting(self, reason: str) -> Iterator[None]:
        """Show the reason for as long as the block takes."""
        self._waiting.append(reason)
        self.show()
        try:
            yield
        finally:
            self._waiting.remove(reason)
            self.show()

    def show(self) -> None:
        """Tell the watcher."""
        self._on_progress(
            FeedProgress(
                offered=self._offered,
                accepted=self._totals[Outcome.ACCEPTED],
                rejected=self._totals[Outcome.REJECTED],
                gave_up=self._totals[Outcome.GAVE_UP],
                retries=self.retries,
                waiting=self._waiting[0] if self._waiting else None,
            )
        )

    def summary(self) -> FeedSummary:
        """The end of it."""
        stages = {
            stage: StageCounts(counts[Outcome.ACCEPTED], counts[Outcome.REJECTED], counts[Outcome.GAVE_UP])
            for stage, counts in self._outcomes.items()
        }
        return FeedSummary(
            offered=self._offered,
            accepted=self._totals[Outcome.ACCEPTED],
            rejected=self._totals[Outcome.REJECTED],
            gave_up=self._totals[Outcome.GAVE_UP],
            requests=self.requests,
            retries=self.retries,
            seconds=time.monotonic() - self._started,
            stages=stages,
            highest_offsets=dict(sorted(self._offsets.items())),
            stopped=self.stopped,
        )
