"""How many records may go now: a token bucket on the given clock. Not here: waiting (run.py)."""

from bems_streams.ports import Clock


class TokenBucket:
    """At most `per_second` on average; after a pause, one second's worth at once. Full at first with one token."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = 1.0
        self._seen_us = clock.now_us()

    def available(self) -> int:
        """Whole tokens there are now. A clock that is set back costs what it jumps, once."""
        now_us = self._clock.now_us()
        gained = max(0, now_us - self._seen_us) / 1e6 * self._per_second
        self._tokens = min(self._tokens + gained, max(1.0, self._per_second))
        self._seen_us = now_us
        return int(self._tokens)

    def take(self, tokens: int) -> None:
        """Use some of what is available."""
        self._tokens -= tokens

    def wait_seconds(self) -> float:
        """Until there is a whole token."""
        return max(0.0, (1.0 - self._tokens) / self._per_second)
