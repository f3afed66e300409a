"""When made-up invoices arrive: office hours, quiet weekends, and the rush before a month closes.

Not here: what happens to an invoice after it arrived (simulator_journeys.py).
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Final

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3_600 * SECOND_US
DAY_US: Final = 24 * HOUR_US
SATURDAY: Final = 5
WEEKEND_WEIGHT: Final = 0.22
RUSH_BUSINESS_DAYS: Final = 3
# UTC; offices from Tokyo to São Paulo, most of them in Europe.
HOUR_WEIGHTS: Final = (2, 2, 2, 2, 3, 4, 7, 10, 12, 13, 12, 11, 10, 12, 12, 11, 9, 7, 5, 4, 3, 3, 2, 2)


def weekday(moment_us: int) -> int:
    """0 is Monday; 1970-01-01 was a Thursday."""
    return (moment_us // DAY_US + 3) % 7


def after_weekend(moment_us: int) -> int:
    """The same time of day on Monday, for a moment on a weekend."""
    return moment_us + max(0, 7 - weekday(moment_us)) * DAY_US if weekday(moment_us) >= SATURDAY else moment_us


def closing_date(day: date, closing_day: int) -> date:
    """The next closing on or after `day`, when books close on `closing_day` of each month (31: its last day)."""
    this = _clamped(day.year, day.month, closing_day)
    if this >= day:
        return this
    later = day.replace(day=28) + timedelta(days=4)
    return _clamped(later.year, later.month, closing_day)


def _clamped(year: int, month: int, day: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day, (following - timedelta(days=1)).day))


def _business_days(first: date, last: date) -> int:
    return sum((first + timedelta(days=n)).weekday() < SATURDAY for n in range((last - first).days + 1))


def day_weight(day: date, surge: float, closing_day: int) -> float:
    """How busy a day is; 1 for an ordinary working day, `surge` for the last three working days before closing."""
    if day.weekday() >= SATURDAY:
        return WEEKEND_WEIGHT
    closing = closing_date(day, closing_day)
    near = (closing - day).days < 2 * RUSH_BUSINESS_DAYS and _business_days(day, closing) <= RUSH_BUSINESS_DAYS
    return surge if near else 1.0


@dataclass(frozen=True, slots=True)
class ArrivalCurve:
    """Maps the n-th part of all invoices to the moment it arrives: monotone, so arrivals need no sorting."""

    since_us: int
    edges_us: tuple[int, ...]
    reached: tuple[float, ...]

    @classmethod
    def between(cls, since_us: int, until_us: int, surge: float, closing_day: int) -> "ArrivalCurve":
        """The curve over one span, hour by hour; the first and last hour count for the part inside the span."""
        edges, weights = [], []
        at_us = since_us
        while at_us < until_us:
            next_us = min(until_us, (at_us // HOUR_US + 1) * HOUR_US)
            moment = datetime.fromtimestamp(at_us // SECOND_US, tz=UTC)
            busy = day_weight(moment.date(), surge, closing_day) * HOUR_WEIGHTS[moment.hour]
            edges.append(next_us)
            weights.append(busy * (next_us - at_us) / HOUR_US)
            at_us = next_us
        return cls(since_us, tuple(edges), tuple(accumulate(weights)))

    def at_us(self, part: float) -> int:
        """When the invoice at `part` (0 to 1) of all invoices arrives."""
        wanted = part * self.reached[-1]
        hour = min(bisect_right(self.reached, wanted), len(self.reached) - 1)
        before = self.reached[hour - 1] if hour else 0.0
        begin_us = self.edges_us[hour - 1] if hour else self.since_us
        share = (wanted - before) / (self.reached[hour] - before)
        return begin_us + int((self.edges_us[hour] - begin_us) * share)
