"""Events per second and the sparkline of the last minutes, per stage, from one-second counts.

Not here: the query that counts (ports.StoreReader.rates).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from bems_streams.ports import RatePoint

SECOND_US: Final = 1_000_000
WINDOW_SECONDS: Final = 180
SPARK_BUCKET_SECONDS: Final = 3
AVERAGED_SECONDS: Final = 10
SETTLING_SECONDS: Final = 1  # the newest second is still filling: it would look like a drop


class Pace:
    """What `now_us` makes of the counts of the window before it. `points` have buckets of one second."""

    def __init__(self, points: Iterable[RatePoint], now_us: int) -> None:
        self._until_us = _whole(now_us, SECOND_US) - SETTLING_SECONDS * SECOND_US
        self._counts: Counter[tuple[str, int]] = Counter()
        for point in points:
            self._counts[point.stage, point.start_us] += point.events

    def per_second(self, stage: str) -> float:
        """Mean over the newest settled seconds, rounded to a tenth."""
        since_us = self._until_us - AVERAGED_SECONDS * SECOND_US
        return round(self._between(stage, since_us, self._until_us) / AVERAGED_SECONDS, 1)

    def spark(self, stage: str) -> Sequence[int]:
        """Events per bucket over the window, oldest first; the bucket that is still filling is left out."""
        bucket_us = SPARK_BUCKET_SECONDS * SECOND_US
        until_us = _whole(self._until_us, bucket_us)
        starts = range(until_us - (WINDOW_SECONDS - 2 * SPARK_BUCKET_SECONDS) * SECOND_US, until_us, bucket_us)
        return [self._between(stage, start_us, start_us + bucket_us) for start_us in starts]

    def _between(self, stage: str, since_us: int, until_us: int) -> int:
        return sum(self._counts[stage, second_us] for second_us in range(since_us, until_us, SECOND_US))


def window_start_us(now_us: int) -> int:
    """From where on the window needs counts."""
    return _whole(now_us, SECOND_US) - WINDOW_SECONDS * SECOND_US


def _whole(moment_us: int, unit_us: int) -> int:
    return moment_us - moment_us % unit_us
