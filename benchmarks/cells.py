"""A whole cell to be measured: started on a folder that is gone afterwards, its usage by role, how far it is behind.

Not here: what it is fed with (journeys.py, open_loop.py), the cell itself (bems_streams/local/cell.py).
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import click
import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bems_streams.adapters.kafka_group import KafkaGroup
from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.adapters.stores import default_store_url, open_reader
from bems_streams.local.account import Account, Accountant
from bems_streams.local.addresses import role_of
from bems_streams.local.cell import Cell, CellOptions
from bems_streams.local.cell_topics import make_topics
from bems_streams.ports import Place, StoreReader
from bems_streams.topics import Catalogue, Overrides, load_catalogue
from benchmarks.processes import Meter, Usage

BROKER: Final = "broker"
READY_SECONDS: Final = 90.0
SETTLE_SECONDS: Final = 180.0
ASK_SECONDS: Final = 5.0


class Progress(NamedTuple):
    """Records of the stage topics, by what has happened to them so far."""

    accepted: int
    tracked: int
    stored: int

    def since(self, before: Self) -> "Progress":
        """What has happened after `before`."""
        return Progress(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass(frozen=True)
class MeasuredCell:
    """A cell that runs, and the questions that benchmarks ask about it."""

    cell: Cell
    catalogue: Catalogue
    reader: StoreReader
    folder: Path
    accountant: Accountant = field(init=False)
    log: KafkaLogReader = field(init=False)
    tracker: KafkaGroup = field(init=False)

    def __post_init__(self) -> None:
        bootstrap, topics = self.cell.kafka.bootstrap, list(self.catalogue.stage_topics.values())
        parts = {
            "accountant": Accountant(bootstrap, topics, self.catalogue.partitions, self.reader),
            "log": KafkaLogReader(bootstrap, client_id="bems-benchmark"),
            "tracker": KafkaGroup(bootstrap, "bems-tracker"),
        }
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    @property
    def places(self) -> Sequence[Place]:
        """Every partition of every stage topic."""
        return [(topic, p) for topic in self.catalogue.stage_topics.values() for p in range(self.catalogue.partitions)]

    def accepted(self) -> int:
        """Records in the stage topics: written without transactions and not deleted yet, so ends count them."""
        return sum(self.log.high_watermarks(self.places).values())

    def tracked(self) -> int:
        """Records of the stage topics that trackers have committed."""
        return sum(self.tracker.committed(self.places).values())

    def stored(self) -> int:
        """Records of the stage topics that the sink has accounted for with a row."""
        counts = self.reader.counts()
        return counts.stored + counts.duplicates + counts.dead_lettered + counts.retrying

    def progress(self) -> Progress:
        """Stored and tracked first: more can only be accepted by then."""
        stored, tracked = self.stored(), self.tracked()
        return Progress(self.accepted(), tracked, stored)

    def pids(self) -> Mapping[str, Sequence[int]]:
        """By role, of what runs now."""
        found: dict[str, list[int]] = {BROKER: list(self.cell.kafka.pids.values())}
        for status in self.cell.processes.statuses():
            if status.pid is not None:
                found.setdefault(role_of(status.name), []).append(status.pid)
        return found

    def restarts(self) -> int:
        """How often a process of the cell had to be started again."""
        return sum(status.restarts for status in self.cell.processes.statuses())

    def settled(self) -> Account:
        """Wait until everything accepted is accounted for. Returns the last look, settled or not, when time is up."""
        end = time.monotonic() + SETTLE_SECONDS
        while self.stored() < self.accepted() and time.monotonic() < end:
            time.sleep(0.2)
        while not (account := self.accountant.account()).settled and time.monotonic() < end:
            time.sleep(1.0)
        return account

    def seen_within(self, seconds: float) -> tuple[int, int]:
        """Events that the sink saw durable within `seconds` (a bucket of its histogram) of acceptance, and all."""
        answer = httpx.get(f"{self.cell.addresses.health['sink']}/metrics", timeout=ASK_SECONDS, trust_env=False)
        samples = [
            sample
            for family in text_string_to_metric_families(answer.text)
            if family.name == "bems_agent_visibility_seconds"
            for sample in family.samples
        ]
        within = sum(s.value for s in samples if s.name.endswith("_bucket") and float(s.labels["le"]) == seconds)
        return int(within), int(sum(s.value for s in samples if s.name.endswith("_count")))


@contextmanager
def measured_cell(
    roles: Sequence[str], *, store: str = "{url}", partitions: int | None = None
) -> Iterator[MeasuredCell]:
    """Started and ready; ClickException when it does not become so. `store`: its URL, made from {folder} and {url};
    `partitions` of every topic, instead of the catalogue's number.
    """
    catalogue = load_catalogue(overrides=Overrides(partitions))
    with tempfile.TemporaryDirectory(prefix="bems-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        url = default_store_url(folder)
        environment = {"BEMS_PARTITIONS": str(catalogue.partitions)}
        chosen = store.format(folder=folder, url=url)
        options = CellOptions(folder, roles=roles, store_url=chosen, environment=environment)
        with Cell(options, partial(make_topics, catalogue)) as cell, ExitStack() as held:
            reader = open_reader(url)
            held.callback(reader.close)
            await_ready(cell)
            measured = MeasuredCell(cell, catalogue, reader, folder)
            held.callback(measured.tracker.close)
            yield measured


def await_ready(cell: Cell, names: Sequence[str] | None = None) -> None:
    """Every role answers ready. ClickException with what they say when that takes too long."""
    end = time.monotonic() + READY_SECONDS
    while waiting := cell.addresses.not_ready(names):
        if time.monotonic() > end:
            raise click.ClickException(f"not ready after {READY_SECONDS:g} s: {waiting}")
        time.sleep(0.1)


class RoleMeter:
    """CPU time and peak memory by role, from entry to exit, of whatever processes the roles have meanwhile.

    `pids` is asked again and again: a process that is started again counts as well.
    """

    def __init__(self, pids: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        self._meters = {role: Meter(partial(_processes, pids, role)) for role in pids()}
        self._held = ExitStack()

    @property
    def usage(self) -> Mapping[str, Usage]:
        """By role; known after exit."""
        return {role: meter.usage for role, meter in self._meters.items()}

    def __enter__(self) -> Self:
        for meter in self._meters.values():
            self._held.enter_context(meter)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def _processes(pids: Callable[[], Mapping[str, Sequence[int]]], role: str) -> Iterator[psutil.Process]:
    for pid in pids().get(role, ()):
        with suppress(psutil.NoSuchProcess):  # it ended this moment
            yield psutil.Process(pid)


def by_role(usage: Mapping[str, Usage], events: int, handled: Mapping[str, int]) -> dict[str, float]:
    """Figures for `Run.extra`: peak memory of each role, and its microseconds of CPU for each event that it handled.

    `handled` by role; the others, all `events`. A role that falls behind handles fewer than the cell accepts.
    """
    cpu_us = {
        f"{role}_cpu_us_per_event": 1e6 * used.cpu_seconds / max(1, handled.get(role, events))
        for role, used in usage.items()
    }
    return cpu_us | {f"{role}_peak_rss_bytes": float(used.peak_rss_bytes) for role, used in usage.items()}


def machine_cpu_seconds() -> float:
    """CPU time that everybody on this machine has used so far: what is not ours is noise."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait
