"""What a cell costs in a month, and a million events.

Not here: the amounts of everything (plan.py), prices (assumptions.toml).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bems_streams.capacity.demand import DAY_SECONDS, Demand
from bems_streams.capacity.figure import TOPICS, Figure, Section
from bems_streams.capacity.inputs import Inputs

MONTH_HOURS: Final = 730.0
GIGABYTE: Final = 1e9


def cost(demand: Demand, cells: int, figures: Sequence[Figure], inputs: Inputs) -> Iterator[Figure]:
    """Of one cell; at the end all cells, and a million events."""
    parts = {
        "processes and store": _total(figures, Section.CORES) * inputs["core_hour"] * MONTH_HOURS,
        "brokers": _total(figures, Section.BROKERS, "brokers") * inputs["broker_hour"] * MONTH_HOURS,
        "disk of brokers": _gigabytes(figures, *TOPICS) * inputs["broker_gb_month"],
        "disk of trackers and store": _gigabytes(figures, "tables of trackers", "store") * inputs["disk_gb_month"],
        "archive": _gigabytes(figures, "archive (estimate)") * inputs["archive_gb_month"],
        "traffic between zones": _crossing_gigabytes(figures, inputs) * inputs["zone_gb"],
    }
    for name, dollars in parts.items():
        yield Figure(Section.COST, name, dollars, "$/month", "amount x price")
    total = sum(parts.values())
    dearest = max(parts, key=lambda name: parts[name])
    events = demand.mean_rate(inputs) * MONTH_HOURS * 3600
    yield Figure(Section.COST, "one cell", total, "$/month", dearest)
    yield Figure(Section.COST, "all cells", total * cells, "$/month", f"cells: {cells}")
    yield Figure(Section.COST, "1 M events", total / events * 1e6, "$", dearest)


def _total(figures: Sequence[Figure], section: Section, *names: str) -> float:
    return sum(each.value for each in figures if each.section is section and (not names or each.name in names))


def _gigabytes(figures: Sequence[Figure], *names: str) -> float:
    return _total(figures, Section.DISK, *names) / GIGABYTE


def _crossing_gigabytes(figures: Sequence[Figure], inputs: Inputs) -> float:
    between_clients_and_brokers = _total(figures, Section.NETWORK, "written to brokers", "read from brokers")
    month_seconds = MONTH_HOURS / 24 * DAY_SECONDS
    share = inputs["mean_share_of_peak"] * inputs["zone_crossing_share"]
    return between_clients_and_brokers * share * month_seconds / GIGABYTE
