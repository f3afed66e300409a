"""How far behind an agent is, as a metric, measured from what the broker last told.

Not here: what to do about it (alerts, autoscaling).
"""

from collections.abc import Mapping
from typing import Any, Final

from faust.types import TP

from bems_streams.metrics import AgentMetrics
from bems_streams.runtime.ownership import Ownership

LAG_SECONDS: Final = 2.0


def add_lag_metrics(app: Any, ownership: Ownership, stage_of: Mapping[str, str], metrics: AgentMetrics) -> None:
    """Register a timer that sets the lag of every stage partition owned."""

    @app.timer(LAG_SECONDS, name="lag")
    async def measure() -> None:
        owned = ownership.owned
        if owned is None:
            return
        for place, position in owned.positions.items():
            stage, end = stage_of.get(place[0]), app.consumer.highwater(TP(*place))
            if stage is not None and end is not None:
                metrics.lag(stage, place[1], max(0, end - max(position, app.consumer.passed(TP(*place)))))
