"""What a benchmark ran on: processors, memory, versions, and how busy the machine was with other things.

Not here: measuring anything (the benchmarks), showing it (report.py).
"""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from confluent_kafka import libversion

LIBRARIES: Final = (
    "msgspec",
    "confluent-kafka",
    "aiokafka",
    "faust-streaming",
    "rocksdict",
    "uvicorn",
    "uvloop",
    "httptools",
)
BUSY_LOAD_PER_CPU: Final = 0.5
CPU_INFO: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """As it was when the benchmarks began. `load_average` is that of the last minute."""

    cpus: int
    model: str
    memory_bytes: int
    system: str
    python: str
    libraries: Mapping[str, str]
    load_average: float

    def warning(self) -> str | None:
        """What to tell whoever reads the figures; None when the machine is quiet."""
        return busy_warning(self.load_average, self.cpus)

    def document(self) -> dict[str, Any]:
        """As it stands in the JSON report."""
        return asdict(self)


def read_machine() -> Machine:
    """This machine now. `cpus` are those that this process may use."""
    return Machine(
        cpus=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        model=cpu_model(CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else ""),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES} | {"librdkafka": libversion()[0]},
        load_average=os.getloadavg()[0],
    )


def busy_warning(load_average: float, cpus: int) -> str | None:
    """Words for a machine that others use so much that rates and latencies say little; None when it is quiet."""
    if load_average / cpus <= BUSY_LOAD_PER_CPU:
        return None
    return (
        f"the machine was busy before the run (load {load_average:.1f} on {cpus} CPUs): "
        "trust CPU time and ratios, not rates and latencies"
    )


def cpu_model(cpu_info: str) -> str:
    """The processor's name in the text of /proc/cpuinfo; what Python knows of it where there is none."""
    for line in cpu_info.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
