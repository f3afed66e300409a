"""A histogram that takes a value many times at once: what a batch measured costs by different values, not by events.

Not here: which histograms there are (metrics.py).
"""

import math
import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class BulkHistogram(Collector):
    """As prometheus_client's own, which takes one value at a time at 1.7 µs each. Thread-safe."""

    def __init__(self, name: str, text: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._name = name
        self._text = text
        self._bounds = (*buckets, math.inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, value: float, times: int = 1) -> None:
        """Take `value` in, as if it came so many times."""
        bucket = bisect_left(self._bounds, value)
        with self._lock:
            self._counts[bucket] += times
            self._sum += value * times

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """As scraped: each bucket counts those below it, too."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        reached, buckets = 0, []
        for bound, count in zip(self._bounds, counts, strict=True):
            reached += count
            buckets.append(("+Inf" if bound == math.inf else str(float(bound)), float(reached)))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=total)
