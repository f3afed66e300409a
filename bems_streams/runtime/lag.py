"""How far behind an agent is, as a metric, measured from what the broker last told.

Not here: what to do about it (alerts, autoscaling).
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Final

from faust.types import TP

from bems_streams.metrics import AgentMetrics
from bems_streams.runtime.ownership import Ownership

LAG_SECONDS: Final = 2.0


def add_lag_metrics(
    app: Any, ownership: Ownership, stage_of: Mapping[str, str], lanes: Collection[str], metrics: AgentMetrics
) -> None:
    """Register a timer that sets the lag of every stage partition owned, and what waits in each lane."""

    @app.timer(LAG_SECONDS, name="lag")
    async def measure() -> None:
        owned = ownership.owned
        if owned is None:
            return
        waiting: Counter[str] = Counter(dict.fromkeys(lanes, 0))
        for place, position in owned.positions.items():
            stage, end = stage_of.get(place[0]), app.consumer.highwater(TP(*place))
            if end is None:
                continue
            behind = max(0, end - max(position, app.consumer.passed(TP(*place))))
            if stage is not None:
                metrics.lag(stage, place[1], behind)
            elif place[0] in lanes:
                waiting[place[0]] += behind
        for lane, records in waiting.items():
            metrics.lane(lane, records)
