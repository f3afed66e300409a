"""Runs a scenario against a gateway: paced, counted by kind, with bad records written past the gateway if wanted.

Not here: what invoices do (simulator.py), sending (feeder.py), the command line (cli/simulate.py).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bems_streams.local.feed_pace import at_rate, compressed
from bems_streams.local.feed_types import FeedOptions, FeedProgress, FeedSummary, Offer, Refusal
from bems_streams.local.feeder import feed
from bems_streams.local.simulator import Kind, Scenario, SimulatedEvent, simulate
from bems_streams.local.simulator_poison import PoisonSummary, write_poison
from bems_streams.ports import Appender, OutRecord

NO_POISON: Final = PoisonSummary(0, 0)


@dataclass(frozen=True, slots=True)
class FlatOut:
    """As fast as the gateway takes them."""


@dataclass(frozen=True, slots=True)
class PerSecond:
    """So many events a second at most, whatever simulated time does."""

    events: float


@dataclass(frozen=True, slots=True)
class Compressed:
    """As simulated time passes: so many simulated seconds in a second."""

    factor: float


Pace = FlatOut | PerSecond | Compressed


@dataclass(frozen=True, slots=True)
class Poisoning:
    """Bad records and the way to write them."""

    appender: Appender
    records: Sequence[OutRecord]


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """`offered` counts by kind what the gateway was to get; poison did not pass it and is counted apart."""

    feed: FeedSummary
    offered: Mapping[Kind, int]
    poison: PoisonSummary


async def run_simulation(
    scenario: Scenario,
    pace: Pace,
    url: str,
    options: FeedOptions,
    *,
    poisoning: Poisoning | None = None,
    stop: asyncio.Event | None = None,
    on_progress: Callable[[FeedProgress], None] = lambda progress: None,
    on_refused: Callable[[Refusal], None] = lambda refusal: None,
) -> SimulationSummary:
    """Send the scenario; stopping, cancelling and errors are those of `feed`. A refusal's tag is its kind."""
    offered: Counter[Kind] = Counter()
    finished = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        poisoner = None
        if poisoning is not None:
            poisoner = group.create_task(
                write_poison(
                    poisoning.appender, poisoning.records, lambda: offered.total() / scenario.expected_events, finished
                )
            )
        summary = await feed(
            _paced(scenario, pace, offered), url, options, stop=stop, on_progress=on_progress, on_refused=on_refused
        )
        finished.set()
    return SimulationSummary(summary, offered, poisoner.result() if poisoner else NO_POISON)


def _paced(scenario: Scenario, pace: Pace, offered: Counter[Kind]) -> Iterator[Offer] | AsyncIterator[Offer]:
    def offer(event: SimulatedEvent) -> Offer:
        offered[event.kind] += 1
        return Offer(event.stage, event.raw, event.kind)

    match pace:
        case FlatOut():
            return map(offer, simulate(scenario))
        case PerSecond(events):
            return _each(offer, at_rate(_unpaced(scenario), events))
        case Compressed(factor):
            return _each(offer, compressed(simulate(scenario), factor, scenario.start_us))


async def _unpaced(scenario: Scenario) -> AsyncIterator[SimulatedEvent]:
    for event in simulate(scenario):
        yield event


async def _each(
    offer: Callable[[SimulatedEvent], Offer], events: AsyncIterator[SimulatedEvent]
) -> AsyncIterator[Offer]:
    async for event in events:
        yield offer(event)
