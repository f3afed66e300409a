"""Processes, cores and memory of each role of one cell.

Not here: brokers and disk (plan.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from bems_streams.capacity.demand import Demand
from bems_streams.capacity.figure import Bound, Figure, Section, largest
from bems_streams.capacity.inputs import Inputs

MICROSECOND = 1e-6
BATCH_EVENTS = 100
"""Events in a request of the second of the two measured costs of the gateway."""


@dataclass(frozen=True, slots=True)
class Role:
    """One kind of process. It spends `cpu_us` on an event, and `idle_cores` on none, on cores of production."""

    name: str
    cpu_us: float
    idle_cores: float
    processes: Bound
    cores: Bound
    process_bytes: float

    @property
    def events_per_second(self) -> float:
        """All its processes together, each with one core to the full: Python uses one."""
        return self.processes.value * per_process(self.cpu_us, self.idle_cores, 1.0)

    def figures(self) -> list[Figure]:
        """As they stand in a plan."""
        return [
            Figure(Section.PROCESSES, self.name, self.processes.value, "", self.processes.bound),
            Figure(Section.CORES, self.name, self.cores.value, "cores", self.cores.bound),
            Figure(
                Section.MEMORY, self.name, self.processes.value * self.process_bytes, "bytes", "processes x peak memory"
            ),
        ]


def gateway_cpu_us(inputs: Inputs) -> float:
    """A part for the event and a part for its share of the request, from two measured sizes of requests."""
    single, batch = inputs["gateway_cpu_us"], inputs["gateway_batch_cpu_us"]
    per_request = (single - batch) * BATCH_EVENTS / (BATCH_EVENTS - 1)
    return max(0.0, single - per_request) + max(0.0, per_request) / inputs["events_per_request"]


def roles(demand: Demand, inputs: Inputs) -> Mapping[str, Role]:
    """Of one cell, by name. The ledger's watch and the console are one process each."""
    by_invoices = (ceil(demand.invoices / inputs["worker_invoices"]), "open invoices")
    least = (inputs["least_processes"], "least")
    found = [
        _role("gateway", gateway_cpu_us(inputs), demand, inputs, least),
        _role("tracker", inputs["tracker_cpu_us"], demand, inputs, least, by_invoices),
        _role("sink", inputs["sink_cpu_us"], demand, inputs, least),
        _role("ledger", inputs["ledger_cpu_us"], demand, inputs, (1, "one a cell"), most=1),
        _role("console", inputs["console_cpu_us"], demand, inputs, (1, "one a cell"), most=1),
    ]
    return {role.name: role for role in found}


def per_process(cpu_us: float, idle_cores: float, busy_cores: float) -> float:
    """Events per second of a process that is so busy."""
    return max(0.0, busy_cores - idle_cores) / (cpu_us * MICROSECOND)


def _role(
    name: str, cpu_us: float, demand: Demand, inputs: Inputs, *least: tuple[float, str], most: float = float("inf")
) -> Role:
    busy, ratio = inputs["utilisation"], inputs["core_ratio"]
    event_us, idle_cores = cpu_us / ratio, inputs[f"{name}_idle_cores"] / ratio
    processes = largest(*least, (ceil(demand.rate / per_process(event_us, idle_cores, busy)), "CPU"))
    count = min(most, processes.value)
    used = (demand.rate * event_us * MICROSECOND + count * idle_cores) / busy
    cores = largest((count * inputs["least_cores_of_process"], "least of a process"), (used, "CPU"))
    tables_bytes = inputs["table_memory_bytes"] if name == "tracker" else 0.0
    process_bytes = inputs[f"{name}_rss_bytes"] + tables_bytes
    return Role(name, event_us, idle_cores, Bound(count, processes.bound), cores, process_bytes)
