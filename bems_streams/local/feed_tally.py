"""Counts what becomes of offered events, and tells whoever watches.

Not here: sending (feeder.py), showing (feed_report.py).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bems_streams.local.feed_http import Taken
from bems_streams.local.feed_types import FeedProgress, FeedSummary, Offer, Outcome, Refusal, StageCounts

MOST_STAGES: Final = 32  # a file full of made-up stage names must not fill the memory
OTHER_STAGES: Final = "(other)"
NO_STAGE: Final = "(none)"
SERVICE_UNAVAILABLE: Final = 503


class Tally:
    """The counts of one run. `stopped`: why it ended early."""

    def __init__(
        self,
        on_progress: Callable[[FeedProgress], None],
        on_refused: Callable[[Refusal], None],
        on_accepted: Callable[[Offer, Taken], None],
    ) -> None:
        self._on_progress = on_progress
        self._on_refused = on_refused
        self._on_accepted = on_accepted
        self._started = time.monotonic()
        self.offers = 0
        self._outcomes: dict[str, Counter[Outcome]] = {}
        self._totals: Counter[Outcome] = Counter()
        self._offsets: dict[str, int] = {}
        self._waiting: list[str] = []
        self._unavailable = 0
        self.requests = 0
        self.retries = 0
        self.stopped: str | None = None

    def offered(self) -> None:
        """One more event came from the source."""
        self.offers += 1

    def accepted(self, offer: Offer, taken: Taken) -> None:
        """One event was answered 202."""
        self._on_accepted(offer, taken)
        self._count(offer.stage, Outcome.ACCEPTED)
        if taken.topic:
            partition = f"{taken.topic}/{taken.partition}"
            self._offsets[partition] = max(taken.offset, self._offsets.get(partition, 0))

    def turned_away(self, status: int, events: int) -> None:
        """Events are to be sent again; `status` 0 when there was no answer."""
        if status == SERVICE_UNAVAILABLE:
            self._unavailable += events

    def refused(self, refusal: Refusal) -> None:
        """One event was rejected or given up."""
        self._on_refused(refusal)
        self._count(refusal.stage or NO_STAGE, refusal.outcome)

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
                offered=self.offers,
                accepted=self._totals[Outcome.ACCEPTED],
                rejected=self._totals[Outcome.REJECTED],
                gave_up=self._totals[Outcome.GAVE_UP],
                retries=self.retries,
                waiting=self._waiting[0] if self._waiting else None,
                unavailable=self._unavailable,
            )
        )

    def summary(self) -> FeedSummary:
        """The end of it."""
        stages = {
            stage: StageCounts(counts[Outcome.ACCEPTED], counts[Outcome.REJECTED], counts[Outcome.GAVE_UP])
            for stage, counts in self._outcomes.items()
        }
        return FeedSummary(
            offered=self.offers,
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
