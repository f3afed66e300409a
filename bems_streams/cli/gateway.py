"""`bems gateway`: puts the gateway together and runs it.

Not here: what any part does (gateway/, flows/accept.py, adapters/kafka_producer.py).
"""

import asyncio
import socket
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click
import uvloop
from confluent_kafka import KafkaException
from prometheus_client import CollectorRegistry

from bems_streams.adapters.kafka_admin import refuse_unsafe_cluster
from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.adapters.stores import open_reader
from bems_streams.cli.store_options import store_options, store_url
from bems_streams.config import Settings
from bems_streams.flows.resolve import Receipts
from bems_streams.gateway.app import Gateway
from bems_streams.gateway.availability import Availability, ClusterCheck
from bems_streams.gateway.cold import cold_routes
from bems_streams.gateway.limits import Limits
from bems_streams.gateway.lookup import Lookup
from bems_streams.gateway.openapi import openapi
from bems_streams.gateway.server import Running, collect_less_garbage, listen, serve
from bems_streams.health import Health, HealthServer
from bems_streams.logs import setup_logs
from bems_streams.metrics import GatewayMetrics
from bems_streams.ports import StoreUnusableError
from bems_streams.topics import Catalogue, CatalogueError, load_catalogue

PROBE_SECONDS: Final = 3.0
COMPARE_SECONDS: Final = 10.0
FLUSH_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 2.0
LINGER_MS: Final = 5.0  # at 10,000 events/s the broker works a fifth less than with 1 ms; receipts come 4 ms later
LOG_ANSWER_SECONDS: Final = 3.0
DEFAULTS: Final = Limits()


@click.command(name="gateway", short_help="Accept events over HTTP; answer once they are durable.")
@click.option("--host", help="Address to listen on. [BEMS_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--bootstrap", help="Kafka bootstrap servers, host:port[,...]. [BEMS_BOOTSTRAP, 127.0.0.1:9092]")
@click.option("--catalogue", type=click.Path(path_type=Path), help="Path of topics.yaml. [BEMS_CATALOGUE]")
@click.option("--cell", help="Cell id, on every record and receipt. [BEMS_CELL, local-1]")
@click.option("--health-port", type=click.IntRange(0, 65535), help="Also answer /metrics, /healthz, /readyz here.")
@click.option("--max-body-bytes", type=int, default=DEFAULTS.body_bytes, show_default=True, help="Of one request.")
@click.option("--max-batch", type=int, default=DEFAULTS.batch_events, show_default=True, help="Events per request.")
@click.option("--max-in-flight", type=int, default=DEFAULTS.in_flight_events, show_default=True, help="Events, in all.")
@click.option(
    "--max-in-flight-bytes", type=int, default=DEFAULTS.in_flight_bytes, show_default=True, help="Bodies, in all."
)
@click.option(
    "--delivery-timeout-seconds",
    type=click.FloatRange(0.1, 300),
    default=10.0,
    show_default=True,
    help="How long to try before an event is answered with 503.",
)
@store_options
def command(
    *,
    host: str | None,
    port: int,
    bootstrap: str | None,
    catalogue: Path | None,
    cell: str | None,
    health_port: int | None,
    max_body_bytes: int,
    max_batch: int,
    max_in_flight: int,
    max_in_flight_bytes: int,
    delivery_timeout_seconds: float,
    state_dir: Path | None,
    store: str | None,
) -> None:
    """Accept events over HTTP: POST /v1/<stage>/events, one object or an array. /docs explains the rest.

    202 means durable, with a receipt. SIGTERM stops gracefully: what is under way is answered first.
    """
    settings = Settings()
    setup_logs(settings.log_level)
    try:
        limits = Limits(max_body_bytes, max_batch, max_in_flight, max_in_flight_bytes)
        loaded = load_catalogue(catalogue or settings.catalogue, settings.overrides)
    except (ValueError, CatalogueError) as error:
        raise click.ClickException(str(error)) from error
    address = host or settings.host
    cell = cell or settings.cell
    reach = ProducerConfig(bootstrap or settings.bootstrap, "bems-gateway", delivery_timeout_seconds, LINGER_MS)
    with ExitStack() as held:
        listener = held.enter_context(_listen(address, port))
        click.echo(f"gateway: http://{_printable(listener)}/docs")
        producer = _producer(reach)
        availability = Availability()
        registry = CollectorRegistry()
        health = Health("gateway", registry, availability.readiness)
        if health_port is not None:
            _serve_health(health, address, health_port, held)
        lookup = _lookup(cell, loaded, store_url(settings, state_dir, store), reach.bootstrap, held)
        app = Gateway(
            cell=cell,
            stage_topics=loaded.stage_topics,
            appender=producer,
            availability=availability,
            limits=limits,
            metrics=GatewayMetrics(registry),
            cold=cold_routes(openapi([*loaded.stage_topics], limits, version("bems-streams")), health, lookup),
        )
        check = _check(loaded, reach.bootstrap, producer)
        grace_seconds = delivery_timeout_seconds + ANSWER_SECONDS
        running = Running(availability, check, partial(producer.close, FLUSH_SECONDS), grace_seconds)
        collect_less_garbage()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(app, listener, running))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        reason = f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host and --port"
        raise click.ClickException(reason) from error


def _producer(reach: ProducerConfig) -> KafkaProducer:
    try:
        return KafkaProducer(reach)
    except KafkaException as error:
        raise click.ClickException(f"Kafka's client refuses its settings: {error}; check --bootstrap") from error


def _serve_health(health: Health, host: str, port: int, held: ExitStack) -> None:
    try:
        server = HealthServer(health, host, port)
    except OSError as error:
        reason = f"cannot listen on {host}:{port}: {error.strerror}; choose another with --health-port"
        raise click.ClickException(reason) from error
    server.start()
    held.callback(server.stop)
    click.echo(f"health: {server.address}")


def _lookup(cell: str, catalogue: Catalogue, url: str, bootstrap: str, held: ExitStack) -> Lookup:
    try:
        reader = open_reader(url)
    except StoreUnusableError as error:
        raise click.ClickException(f"{error}; name the right one with --store or BEMS_STORE") from error
    held.callback(reader.close)
    log = KafkaLogReader(
        bootstrap, client_id="bems-receipts", answer_seconds=LOG_ANSWER_SECONDS, stall_seconds=LOG_ANSWER_SECONDS
    )
    topics = tuple(catalogue.stage_topics.values())
    lookup = Lookup(Receipts(cell, topics, catalogue.partitions, reader, log).resolve)
    held.callback(lookup.close)
    return lookup


def _check(catalogue: Catalogue, bootstrap: str, producer: KafkaProducer) -> ClusterCheck:
    topics = tuple(catalogue.stage_topics.values())
    return ClusterCheck(
        unreachable=partial(producer.unreachable, topics, PROBE_SECONDS),
        refuse_unsafe=partial(refuse_unsafe_cluster, catalogue, bootstrap, COMPARE_SECONDS),
    )


def _printable(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
