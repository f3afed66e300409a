"""Pacing: never faster than asked, never stuck behind after a stall."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from bems_streams.local.feed_pace import at_rate, compressed


class Clock:
    """Time that passes only when slept."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class At(NamedTuple):
    at_us: int


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_a_rate_is_kept_and_nothing_is_left_out() -> None:
    """1,000 offers at 200 a second take five seconds."""
    clock = Clock()
    seen = [number async for number in at_rate(numbers(1_000), 200, clock, clock.sleep)]
    assert seen == [*range(1_000)]
    assert 4.9 < clock.now - 1_000 <= 5.0


async def test_after_a_stall_the_burst_is_at_most_a_second_worth() -> None:
    """A gateway that was away for a minute is not flooded when it is back."""
    clock = Clock()
    paced = at_rate(numbers(10_000), 100, clock, clock.sleep)
    await anext(paced)
    clock.now += 60
    resumed, burst = clock.now, 0
    async for _ in paced:
        if clock.now > resumed:
            break
        burst += 1
    assert 95 <= burst <= 110


async def test_compressed_time_passes_as_many_times_faster() -> None:
    """A day in two seconds: events come when their simulated moment has come, and all at once after a stall."""
    clock = Clock()
    hour_us = 3_600_000_000
    moments = []
    async for event in compressed([At(hour_us * hour) for hour in range(25)], 43_200, 0, clock, clock.sleep):
        moments.append((event.at_us / hour_us, clock.now - 1_000))
        if event.at_us == 12 * hour_us:
            clock.now += 0.5
    assert all(abs(at - hour / 12) < 0.03 for hour, at in moments if not 12 < hour < 18)
    assert all(abs(at - 1.5) < 0.03 for hour, at in moments if 12 < hour <= 18)
