"""`bems worker …`: puts one agent together from the catalogue and the settings, and runs it.

The composition root of the agents: the only place where configuration, adapters and runtime meet. Not here: any rule.
"""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from prometheus_client import CollectorRegistry

from agents.sink import add_sink
from agents.tracker import add_tracker
from bems_streams.adapters.kafka_admin import refuse_unsafe_cluster
from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.adapters.stores import default_store_url, open_store
from bems_streams.config import Settings
from bems_streams.flows.breaker import Breaker
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.store import SinkParts, Store
from bems_streams.flows.track import Track
from bems_streams.flows.tracking import CurrentDeadlines, TrackingParts
from bems_streams.flows.watch import Watch
from bems_streams.health import Health, HealthServer
from bems_streams.local.skewed_clock import clock_of
from bems_streams.logs import setup_logs
from bems_streams.metrics import AgentMetrics, TableMetrics
from bems_streams.ports import Clock, StoreUnavailableError, StoreUnusableError
from bems_streams.runtime.app import FailFastApp, GroupSettings, Running, batches_of, build_app, run_app
from bems_streams.runtime.fence import KafkaFencedLog
from bems_streams.runtime.holding import LaneRule
from bems_streams.runtime.lag import add_lag_metrics
from bems_streams.runtime.ownership import Ownership, TableStore
from bems_streams.runtime.session import OwnedLog, OwnedTable, Settled
from bems_streams.runtime.table_memory import TableMemory
from bems_streams.topics import Catalogue, CatalogueError, load_catalogue
from bems_streams.topics_plan import TopicAdminError, UnsafeClusterError

CHECK_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Worker:
    """What both agents are built from."""

    agent: str
    settings: Settings
    catalogue: Catalogue
    group: GroupSettings
    registry: CollectorRegistry
    metrics: AgentMetrics
    health_port: int
    clock: Clock

    @property
    def topics(self) -> tuple[str, ...]:
        """What the agent reads, its lanes included."""
        return (*self.catalogue.reads(self.agent), *self.catalogue.lanes(self.agent))

    @property
    def lanes(self) -> Lanes:
        """Where it puts what it cannot handle."""
        return Lanes.of(self.catalogue, self.agent, self.settings.cell, self.settings.region)

    def build_app(self, *, dense: Collection[str], fenced: bool) -> FailFastApp:
        """The Faust application, which delivers records of lanes when they are due."""
        rule = LaneRule(self.lanes.waits, self.clock)
        return build_app(self.group, dense=dense, fenced=fenced, lanes=rule)

    @property
    def stage_of(self) -> dict[str, str]:
        """Topic to stage."""
        return {topic: stage for stage, topic in self.catalogue.stage_topics.items()}

    @property
    def client_config(self) -> dict[str, Any]:
        """For librdkafka clients."""
        return {
            "bootstrap.servers": self.group.bootstrap,
            "client.id": f"bems-{self.agent}",
            "metadata.recovery.strategy": "none",  # re-bootstrapping after all brokers were away leaves dead handles
        }

    def serve(self, app: Any, ownership: Ownership, breaker: Breaker | None = None) -> None:
        """Answer probes and measure the lag. A worker whose destination is down is not ready."""

        def not_ready() -> str | None:
            return (None if breaker is None else breaker.reason_not_ready()) or ownership.reason_not_ready()

        health = Health(self.agent, self.registry, not_ready)
        server = HealthServer(health, self.settings.host, self.health_port)
        server.start()
        click.echo(f"{self.agent}: {server.address}/readyz", err=True)
        add_lag_metrics(app, ownership, self.stage_of, self.lanes.waits, self.metrics)


def _tracker(worker: Worker) -> Running:
    settings, catalogue, group = worker.settings, worker.catalogue, worker.group
    stage_topics = tuple(catalogue.stage_topics.values())
    app = worker.build_app(dense=stage_topics, fenced=True)
    table_metrics = TableMetrics(worker.registry)
    journey = catalogue.journey(settings.time_scale)
    changelog = catalogue.changelog_topic(worker.agent)
    memory = TableMemory(settings.table_memory_mb << 20)
    tables = TableStore(group.data_dir / "tables", changelog, CurrentDeadlines(journey), memory, table_metrics)
    ownership = Ownership(app, worker.topics, worker.client_config, tables)
    log = KafkaFencedLog(worker.client_config, f"{group.group}-{_transactional_name(group)}")
    parts = TrackingParts(
        journey=journey,
        stage_of=worker.stage_of,
        lanes=worker.lanes,
        status_topic=catalogue.status_topic,
        alerts_topic=catalogue.alerts_topic,
        ledger_topic=catalogue.ledger_topic,
        changelog=changelog,
        cell=settings.cell,
        region=settings.region,
        clock=worker.clock,
        table=OwnedTable(tables.partitions),
        log=OwnedLog(ownership, log),
        metrics=worker.metrics,
        table_metrics=table_metrics,
    )
    watch = Watch(parts, Settled(app, ownership, stage_topics))
    add_tracker(app, batches_of(app, worker.topics), ownership, Track(parts), watch)
    log.start()
    worker.serve(app, ownership)
    return Running(app, lambda: tables.open([]))


def _sink(worker: Worker) -> Running:
    settings, catalogue, group = worker.settings, worker.catalogue, worker.group
    app = worker.build_app(dense=catalogue.stage_topics.values(), fenced=False)
    ownership = Ownership(app, worker.topics, worker.client_config, None)
    store = open_store(settings.store or default_store_url(settings.state_dir))
    breaker = Breaker(worker.clock, worker.metrics, ownership.pause)
    parts = SinkParts(
        stage_of=worker.stage_of,
        status_topic=catalogue.status_topic,
        alerts_topic=catalogue.alerts_topic,
        ledger_topic=catalogue.ledger_topic,
        lanes=worker.lanes,
        clock=worker.clock,
        publisher=KafkaProducer(ProducerConfig(group.bootstrap, "bems-sink")),
        store=store,
        breaker=breaker,
        metrics=worker.metrics,
    )
    add_sink(app, batches_of(app, worker.topics), ownership, Store(parts))
    worker.serve(app, ownership, breaker)
    return Running(app, store.close)


def _transactional_name(group: GroupSettings) -> str:
    """A worker with a name ends its own open transaction when it comes back; without one, the timeout does."""
    return group.instance or f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"


AGENTS: Final = {"tracker": _tracker, "sink": _sink}


@click.command(name="worker", short_help="Run an agent: tracker or sink.")
@click.argument("agent", type=click.Choice(list(AGENTS)))
@click.option("--bootstrap", help="Kafka bootstrap servers, host:port[,...]. [BEMS_BOOTSTRAP, 127.0.0.1:9092]")
@click.option("--catalogue", type=click.Path(path_type=Path), help="Path of topics.yaml. [BEMS_CATALOGUE]")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where local state lives. [BEMS_STATE_DIR, .bems]")
@click.option("--instance", help="Name that survives restarts, one per worker, such as the pod's. Default: none.")
@click.option("--session-seconds", type=click.FloatRange(1, 300), default=10.0, show_default=True)
@click.option(
    "--health-port", type=click.IntRange(0, 65535), default=0, help="/metrics, /healthz, /readyz. 0: a free one."
)
def command(
    *,
    agent: str,
    bootstrap: str | None,
    catalogue: Path | None,
    state_dir: Path | None,
    instance: str | None,
    session_seconds: float,
    health_port: int,
) -> None:
    """Run one AGENT: a consumer group member of its own. SIGTERM finishes what is in flight and leaves.

    Exit code 70 means: stopped before anything unfinished was acknowledged; start it again.
    """
    given = {"bootstrap": bootstrap, "catalogue": catalogue, "state_dir": state_dir}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    setup_logs(settings.log_level)
    registry = CollectorRegistry()
    try:
        loaded = load_catalogue(settings.catalogue, settings.overrides)
        data_dir = settings.state_dir.absolute() / (instance or agent)
        data_dir.mkdir(parents=True, exist_ok=True)
        group = GroupSettings(f"bems-{agent}", settings.bootstrap, data_dir, instance, session_seconds)
        refuse_unsafe_cluster(loaded, settings.bootstrap, CHECK_SECONDS)
        clock = clock_of(settings.clock_offset_file)
        worker = Worker(agent, settings, loaded, group, registry, AgentMetrics(registry, agent), health_port, clock)
        run_app(lambda: AGENTS[agent](worker), group)
    except (CatalogueError, UnsafeClusterError, TopicAdminError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except (StoreUnavailableError, StoreUnusableError) as error:
        raise click.ClickException(str(error)) from error
