"""Invoices without end, at the pace at which their stuck limits run, with bursts of copies and of disorder on request.

The same seed gives the same events. Not here: sending them (local/feeder.py), files (load_books.py).
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import chain, count, islice
from random import Random
from typing import Final

from bems_streams.domain.event import microseconds
from bems_streams.local.feed_types import Offer
from bems_streams.local.simulator import MEAN_EVENTS_PER_INVOICE, Kind, Scenario, simulate

DAYS: Final = 20.0
"""Of business time in which one generation of invoices comes and is done."""
START_US: Final = microseconds(datetime(2026, 1, 5, tzinfo=UTC))
DUPLICATES: Final = 0.03
REORDERED: Final = 0.03
STUCK: Final = 0.04
INVALID: Final = 0.002
RECENT_EVENTS: Final = 20_000


class LoadSource:
    """Iterate over it once. Bursts take effect with the next event."""

    def __init__(self, seed: int, rate: float, time_scale: float) -> None:
        self._seed = seed
        self._invoices = max(1, round(rate * DAYS * 86_400 / time_scale / MEAN_EVENTS_PER_INVOICE))
        self._recent: deque[Offer] = deque(maxlen=RECENT_EVENTS)
        self._rng = Random(seed)  # noqa: S311 - made-up data
        self._copies = 0
        self._shuffled = 0
        self.duplicates = 0
        self.reordered = 0

    def burst_of_duplicates(self, events: int) -> None:
        """Send so many of the newest events once more, before anything new."""
        self._copies += events

    def burst_of_disorder(self, events: int) -> None:
        """Send the next so many events in another order."""
        self._shuffled += events

    def scenario(self, generation: int) -> Scenario:
        """The invoices that come when those before them are done or stuck."""
        return Scenario(
            seed=self._seed << 20 | generation,
            start_us=START_US,
            invoices=self._invoices,
            days=DAYS,
            duplicate=DUPLICATES,
            reordered=REORDERED,
            stuck=STUCK,
            invalid=INVALID,
        )

    async def __aiter__(self) -> AsyncIterator[Offer]:
        for offer in self.offers():
            yield offer

    def offers(self) -> Iterator[Offer]:
        """The events themselves."""
        fresh = chain.from_iterable(simulate(self.scenario(generation)) for generation in count())
        while True:
            while self._copies and self._recent:
                self._copies -= 1
                self.duplicates += 1
                yield self._rng.choice(self._recent)._replace(tag=Kind.DUPLICATE)
            size, self._shuffled = max(1, self._shuffled), 0
            events = [Offer(event.stage, event.raw, event.kind) for event in islice(fresh, size)]
            if size > 1:
                self._rng.shuffle(events)
                self.reordered += size
            for offer in events:
                self.duplicates += offer.tag is Kind.DUPLICATE
                self.reordered += offer.tag is Kind.REORDERED
                if offer.tag is not Kind.INVALID:
                    self._recent.append(offer)
                yield offer
