"""Lets offers through at a chosen pace: so many a second, or as fast as simulated time passes.

Not here: what is offered, and what happens when the gateway is slower than the pace.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, Protocol, TypeVar

T = TypeVar("T")
BURST_SECONDS: Final = 0.02
CATCH_UP_SECONDS: Final = 1.0


class Timed(Protocol):
    """Something that belongs to a moment."""

    @property
    def at_us(self) -> int:
        """Simulated time, microseconds since 1970 UTC."""


E = TypeVar("E", bound=Timed)
Sleep = Callable[[float], Awaitable[None]]
Now = Callable[[], float]


async def at_rate(
    offers: AsyncIterable[T], per_second: float, now: Now = time.monotonic, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[T]:
    """At most `per_second`. After a stall it catches up for one second's worth at most, so a burst stays small."""
    due = now()
    async for offer in offers:
        early = due - now()
        if early > BURST_SECONDS:
            await sleep(early)
        elif early < -CATCH_UP_SECONDS:
            due = now() - CATCH_UP_SECONDS
        due += 1.0 / per_second
        yield offer


async def compressed(
    events: Iterable[E], factor: float, start_us: int, now: Now = time.monotonic, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[E]:
    """Each when its simulated time has come, `factor` simulated seconds in a second; after a stall all that are due."""
    began = now()
    for event in events:
        early = began + (event.at_us - start_us) / 1e6 / factor - now()
        if early > BURST_SECONDS:
            await sleep(early)
        yield event
