"""Events per second and the sparkline of the last minutes, per stage, from one-second counts.

Not here: the query that counts (ports.StoreReader.rates).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from bems_streams.ports import RatePoint

SECOND_US: Final = 1_000_000
WINDOW_SECONDS: Final = 180
SPARK_BUCKET_SECONDS: Final = 3
AVERAGED_SECONDS: Final = 10
SETTLING_SECONDS: Final = 1  # the newest second is still filling: it would look like a drop
REREAD_SECONDS: Final = 20  # what a record may need from acceptance to stored before only a full read sees it
FULL_READ_EVERY: Final = 15


class Pace:
    """Remembers the counts of the window, so that each look reads the newest seconds only.

    Every FULL_READ_EVERY looks the whole window is read again, because events may become visible late.
    """

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}
        self._looks = 0

    def since_us(self, now_us: int) -> int:
        """From where to read counts this time: a whole second."""
        seconds = WINDOW_SECONDS if self._looks % FULL_READ_EVERY == 0 else REREAD_SECONDS
        return _whole_second(now_us) - seconds * SECOND_US

    def learn(self, points: Iterable[RatePoint], since_us: int, now_us: int) -> None:
        """Replace what is known from `since_us` on by `points`; forget what left the window."""
        self._looks += 1
        oldest_us = _whole_second(now_us) - WINDOW_SECONDS * SECOND_US
        for stage, counts in self._counts.items():
            self._counts[stage] = {start: n for start, n in counts.items() if oldest_us <= start < since_us}
        for point in points:
            self._counts.setdefault(point.stage, {})[point.start_us] = point.events

    def per_second(self, stage: str, now_us: int) -> float:
        """Mean over the newest settled seconds, rounded to a tenth."""
        until_us = _whole_second(now_us) - SETTLING_SECONDS * SECOND_US
        return round(self._between(stage, until_us - AVERAGED_SECONDS * SECOND_US, until_us) / AVERAGED_SECONDS, 1)

    def spark(self, stage: str, now_us: int) -> Sequence[int]:
        """Events per bucket over the window, oldest first; the bucket that is still filling is left out."""
        bucket_us = SPARK_BUCKET_SECONDS * SECOND_US
        until_us = (_whole_second(now_us) - SETTLING_SECONDS * SECOND_US) // bucket_us * bucket_us
        starts = range(until_us - (WINDOW_SECONDS - SPARK_BUCKET_SECONDS) * SECOND_US, until_us, bucket_us)
        return [self._between(stage, start, start + bucket_us) for start in starts]

    def _between(self, stage: str, since_us: int, until_us: int) -> int:
        counts = self._counts.get(stage, {})
        return sum(counts.get(second, 0) for second in range(since_us, until_us, SECOND_US))


def _whole_second(moment_us: int) -> int:
    return moment_us // SECOND_US * SECOND_US
