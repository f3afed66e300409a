"""The machine's wall clock. Not here: monotonic time, which measures durations and needs no port."""

import time


class SystemClock:
    """Clock of every deployed process."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1000
