"""Computes what one cell needs from what is asked of it and from the inputs; every figure names what bounds it.

Not here: reading inputs (inputs.py), showing a plan (cli/capacity.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from bems_streams.capacity.cost import cost
from bems_streams.capacity.demand import Demand
from bems_streams.capacity.figure import TOPICS, Bound, Figure, Section, largest
from bems_streams.capacity.inputs import Inputs
from bems_streams.capacity.roles import MICROSECOND, Role, roles

MAX_PARTITIONS: Final = 99
OUTAGE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one cell, of which there are `cells` alike."""

    demand: Demand
    cells: int
    figures: Sequence[Figure]
    warnings: Sequence[str]

    def value(self, section: Section, name: str) -> float:
        """One figure. LookupError when there is none."""
        return next(found.value for found in self.figures if (found.section, found.name) == (section, name))


def plan(demand: Demand, inputs: Inputs) -> Plan:
    """What `demand` takes."""
    cells, one = demand.cells(inputs), demand.of_one_cell(inputs)
    by_role = roles(one, inputs)
    disk = list(_disk(one, by_role, inputs))
    network = list(_network(one, inputs))
    brokers, broker_cores = _brokers(one, disk, network, inputs)
    figures = [
        *(figure for role in by_role.values() for figure in role.figures()),
        Figure(Section.CORES, "store", *_store_cores(one, inputs)),
        Figure(Section.BROKERS, "brokers", brokers.value, "", brokers.bound),
        Figure(Section.BROKERS, "their cores in use", broker_cores, "cores", "CPU, all copies"),
        Figure(Section.BROKERS, "partitions of a topic", *_partitions(by_role, inputs)),
        *disk,
        *network,
        *_times(one, by_role, inputs),
    ]
    figures += cost(one, cells, figures, inputs)
    in_order = sorted(figures, key=lambda figure: list(Section).index(figure.section))
    return Plan(demand, cells, in_order, _warnings(demand, cells, by_role, inputs))


def _store_cores(demand: Demand, inputs: Inputs) -> tuple[float, str, str]:
    used = demand.rate * inputs["store_server_cpu_us"] * MICROSECOND / inputs["core_ratio"] / inputs["utilisation"]
    return used, "cores", "CPU of the database server"


def _partitions(by_role: Mapping[str, Role], inputs: Inputs) -> tuple[float, str, str]:
    """A multiple of the trackers, so that each has as many; at least one for each sink."""
    trackers, sinks = by_role["tracker"].processes.value, by_role["sink"].processes.value
    least = largest((inputs["least_partitions"], "least"), (trackers, "trackers"), (sinks, "sinks"))
    even = ceil(least.value / trackers) * trackers
    return even, "", least.bound if even == least.value else f"{least.bound}, the same number for each tracker"


def _disk(demand: Demand, by_role: Mapping[str, Role], inputs: Inputs) -> Iterator[Figure]:
    def figure(name: str, size_bytes: float, bound: str) -> Figure:
        return Figure(Section.DISK, name, size_bytes, "bytes", bound)

    copies, kept = inputs["replication"], demand.events_kept(inputs, demand.retention_days)
    newest = demand.invoices * inputs["compaction_overhead"] * copies
    yield figure("stage topics", kept * inputs["event_log_bytes"] * copies, "retention x copies")
    yield figure("ledger topic", kept * inputs["account_bytes_per_event"] * copies, "retention x copies")
    yield figure("status topic", newest * inputs["status_record_bytes"], "open invoices x copies")
    yield figure("changelog", newest * inputs["changelog_record_bytes"], "open invoices x copies")
    yield figure("tables of trackers", demand.invoices * inputs["table_bytes_per_invoice"], "open invoices")
    stored = demand.events_kept(inputs, inputs["store_days"]) * inputs["store_bytes_per_event"]
    stored += demand.invoices * inputs["store_bytes_per_invoice"]
    yield figure("store", stored * inputs["store_copies"], f"{inputs['store_days']:g} days of events x copies")
    archived = demand.events_kept(inputs, inputs["archive_days"]) * inputs["archive_bytes_per_event"]
    yield figure("archive (estimate)", archived, f"{inputs['archive_days']:g} days of events")


def _network(demand: Demand, inputs: Inputs) -> Iterator[Figure]:
    """At the peak, all brokers together."""
    readers = inputs["downstream_readers"]
    event, status = inputs["event_log_bytes"], inputs["status_bytes_per_event"]
    account, changelog = inputs["account_bytes_per_event"], inputs["changelog_bytes_per_event"]
    written = demand.rate * (event + status + account + changelog)
    read = demand.rate * (event * (2 + readers) + status * (1 + readers) + account)
    yield Figure(Section.NETWORK, "written to brokers", written, "bytes/s", "events, status, changelog, ledger")
    yield Figure(Section.NETWORK, "between brokers", written * (inputs["replication"] - 1), "bytes/s", "copies")
    yield Figure(Section.NETWORK, "read from brokers", read, "bytes/s", f"tracker, sink, {readers:g} downstream")


def _brokers(demand: Demand, disk: Sequence[Figure], network: Sequence[Figure], inputs: Inputs) -> tuple[Bound, float]:
    copies, busy, ratio = inputs["replication"], inputs["utilisation"], inputs["core_ratio"]
    work = 1 + (copies - 1) * inputs["replica_cpu_share"]
    cores = demand.rate * inputs["broker_cpu_us"] * MICROSECOND * work / ratio
    topics_bytes = sum(figure.value for figure in disk if figure.name in TOPICS)
    written, between, read = (figure.value for figure in network)
    line = inputs["broker_network_bytes"] * busy
    needed = largest(
        (copies, "copies"),
        (ceil(cores / (inputs["broker_cores"] * busy)), "CPU"),
        (ceil(topics_bytes / inputs["broker_disk_bytes"]), "disk"),
        (ceil(max(written + between, read + between) / line), "network"),
    )
    zones = inputs["zones"] if copies > 1 else 1
    return Bound(ceil(needed.value / zones) * zones, needed.bound), cores


def _times(demand: Demand, by_role: Mapping[str, Role], inputs: Inputs) -> Iterator[Figure]:
    slowest = min((by_role["tracker"], by_role["sink"]), key=lambda role: role.events_per_second)
    spare = slowest.events_per_second - demand.rate
    yield Figure(
        Section.TIMES, "to catch up after 10 min away", OUTAGE_SECONDS * demand.rate / spare, "s", slowest.name
    )
    rows = demand.invoices / by_role["tracker"].processes.value
    restored = rows / inputs["restore_rows_per_second"] * inputs["core_ratio"]
    yield Figure(Section.TIMES, "to restore a tracker's empty disk", restored, "s", "open invoices of one tracker")


def _warnings(demand: Demand, cells: int, by_role: Mapping[str, Role], inputs: Inputs) -> list[str]:
    found = []
    rate, invoices, each = (
        inputs["cell_events_per_second"],
        inputs["cell_invoices"],
        f"{cells} cells, an equal part each",
    )
    if demand.rate > rate:
        found.append(f"{demand.rate:,.0f} events/s are more than the {rate:,.0f}/s of one cell: {each}")
    if demand.invoices > invoices:
        found.append(f"{demand.invoices:,.0f} open invoices are more than the {invoices:,.0f} of one cell: {each}")
    for name in ("tracker", "sink"):
        count = by_role[name].processes.value
        if count > MAX_PARTITIONS:
            found.append(
                f"{count:,.0f} processes of the {name} need as many partitions; a topic has {MAX_PARTITIONS} at most: "
                "have more cells, by a lower cell_events_per_second or cell_invoices"
            )
    watch, utilisation = by_role["ledger"].events_per_second, inputs["utilisation"]
    if watch * utilisation < demand.rate / cells:
        found.append(
            f"the ledger's watch is one process and verifies {watch:,.0f} events/s at most: at "
            f"{demand.rate / cells:,.0f}/s it is busier than {utilisation:.0%}"
        )
    if demand.retention_days < 1:
        found.append(f"after {demand.retention_days:g} days of retention, a consumer that is away longer loses events")
    return found
