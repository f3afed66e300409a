"""The cell that a proof runs on: three brokers, two of everything else, short waits, and files to ask for trouble in.

Not here: what is done to it (cluster.py).
"""

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from bems_streams.adapters.stores import default_store_url
from bems_streams.local.addresses import role_of
from bems_streams.local.cell import AGENTS, PROGRAM, Cell, CellOptions
from bems_streams.local.cell_topics import make_topics
from bems_streams.local.processes import ProcessSpec
from bems_streams.local.prove.cluster import Cluster
from bems_streams.local.prove.plan import Site
from bems_streams.local.skewed_clock import VARIABLE
from bems_streams.local.supervisor import ChildStatus
from bems_streams.topics import Catalogue, default_catalogue_path, load_catalogue

BROKERS: Final = 3
PARTITIONS: Final = 6
SESSION_SECONDS: Final = 6.0
RETRY: Final = ("2s", "5s", "15s")
NAMES: Final = ("tracker-0", "tracker-1", "sink-0", "sink-1", "gateway-0", "gateway-1", "ledger")
SHORTEST_DAY_SECONDS: Final = 10.0
LONGEST_DAY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class ProveOptions:
    """What to prove, and where.

    program           what runs as the product, so that a broken one can be seen to fail
    patience_seconds  how long, at most, the cell is waited for after each fault and at the end
    """

    state_dir: Path
    minutes: float = 20.0
    rate: float = 1000.0
    seed: int = field(default_factory=lambda: secrets.randbelow(1_000_000))
    only: Sequence[str] = ()
    names: Sequence[str] = NAMES
    cell: str = "proof-1"
    program: Sequence[str] = PROGRAM
    patience_seconds: float = 300.0

    @property
    def time_scale(self) -> float:
        """Such that a day of an invoice takes a twentieth of the run: limits pass while it lasts."""
        day_seconds = min(LONGEST_DAY_SECONDS, max(SHORTEST_DAY_SECONDS, self.minutes * 60 / 20))
        return 86_400 / day_seconds

    @property
    def site(self) -> Site:
        """What the plan can break."""
        return Site(self.names, BROKERS, SESSION_SECONDS)

    @property
    def store_url(self) -> str:
        """The real store, without its troubles."""
        return default_store_url(self.state_dir)

    @property
    def load(self) -> Path:
        """The folder of the load's files."""
        return self.state_dir / "load"


def write_catalogue(state_dir: Path) -> Path:
    """The product's catalogue, but replicated, with fewer partitions and shorter waits in the lanes."""
    document: dict[str, Any] = yaml.safe_load(default_catalogue_path().read_text(encoding="utf-8"))
    document |= {"partitions": PARTITIONS, "replication": BROKERS, "min_insync_replicas": BROKERS - 1}
    for agent in document["agents"].values():
        agent["retry"] = list(RETRY)
    path = state_dir / "topics.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Made:
    """A cell that is not started yet, and what belongs to it."""

    cell: Cell
    cluster: Cluster
    catalogue: Catalogue
    catalogue_path: Path


def make_site(options: ProveOptions, progress: Callable[[str], None], on_change: Callable[[ChildStatus], None]) -> Made:
    """Lay it out below the state folder."""
    options.state_dir.mkdir(parents=True, exist_ok=True)
    path = write_catalogue(options.state_dir)
    catalogue = load_catalogue(path)
    control = (options.state_dir / "store-troubles.json").absolute()
    clocks = {
        name: (options.state_dir / "clocks" / name).absolute() for name in options.names if role_of(name) in AGENTS
    }
    cell_options = CellOptions(
        options.state_dir,
        catalogue=path,
        brokers=BROKERS,
        roles=options.names,
        time_scale=options.time_scale,
        session_seconds=SESSION_SECONDS,
        store_url=f"faulty:{control}|{options.store_url}",
        environment={
            "BEMS_CELL": options.cell,
            "BEMS_PARTITIONS": str(PARTITIONS),
            "BEMS_REPLICATION": str(BROKERS),
            "BEMS_MIN_INSYNC_REPLICAS": str(BROKERS - 1),
        },
        environment_of={name: {VARIABLE: str(clock)} for name, clock in clocks.items()},
        program=options.program,
    )
    cell = Cell(cell_options, partial(make_topics, catalogue), progress=progress, on_change=on_change)
    return Made(cell, Cluster(cell, control, clocks, options.load), catalogue, path)


def load_process(options: ProveOptions, made: Made) -> ProcessSpec:
    """The load, as a process of its own."""
    gateways: Mapping[str, str] = {
        name: url for name, url in made.cell.addresses.health.items() if role_of(name) == "gateway"
    }
    command = [
        sys.executable, "-m", "bems_streams.local.prove.load",
        *(part for url in gateways.values() for part in ("--gateway", url)),
        "--bootstrap", made.cell.kafka.bootstrap, "--rate", str(options.rate), "--seed", str(options.seed),
        "--out", str(options.load.absolute()), "--time-scale", str(options.time_scale),
        "--catalogue", str(made.catalogue_path.absolute()),
    ]  # fmt: skip
    return ProcessSpec("load", command, options.state_dir.absolute() / "logs" / "load.log")
