"""`bems console`: puts the console together and runs it.

Not here: what any part does (console/).
"""

import asyncio
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
from prometheus_client import CollectorRegistry

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.stores import open_reader
from bems_streams.cli.store_options import store_url
from bems_streams.config import Settings
from bems_streams.console.app import Console, build_app
from bems_streams.console.desk import Desk
from bems_streams.console.guard import LOOPBACK
from bems_streams.console.live import Live
from bems_streams.console.roles import Roles
from bems_streams.console.server import listen, serve
from bems_streams.console.snapshot import Look
from bems_streams.health import Health
from bems_streams.logs import setup_logs
from bems_streams.metrics import ConsoleMetrics
from bems_streams.ports import StoreUnusableError
from bems_streams.topics import CatalogueError, load_catalogue


def _addresses(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    for address in given:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise click.BadParameter(f"{address!r} is not an address such as http://127.0.0.1:9101")
    return given


@click.command(name="console", short_help="The live page: stages, stuck invoices, search.")
@click.option("--host", help="Address to listen on. [BEMS_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 takes a free one.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path), help="Folder of the default store. [BEMS_STATE_DIR, .bems]"
)
@click.option("--store", help="URL of the store, sqlite:///path. [BEMS_STORE, the one in the state folder]")
@click.option("--catalogue", type=click.Path(path_type=Path), help="Path of topics.yaml. [BEMS_CATALOGUE]")
@click.option(
    "--time-scale", type=click.FloatRange(0, min_open=True), help="Divides shown limits. [BEMS_TIME_SCALE, 1]"
)
@click.option(
    "--watch", multiple=True, callback=_addresses, help="Process to ask for /readyz, such as http://127.0.0.1:9101."
)
@click.option(
    "--gateway-url", default="http://127.0.0.1:8080", show_default=True, help="Named in the first-event hint."
)
def command(
    *,
    host: str | None,
    port: int,
    state_dir: Path | None,
    store: str | None,
    catalogue: Path | None,
    time_scale: float | None,
    watch: tuple[str, ...],
    gateway_url: str,
) -> None:
    """Serve the live page: pace and value per stage, stuck invoices, dead letters, search with timeline.

    Reads the store only; stays up and says so when the store is away. SIGTERM stops it gracefully.
    """
    settings = Settings()
    setup_logs(settings.log_level)
    address = host or settings.host
    where = store_url(settings, state_dir, store)
    try:
        journey = load_catalogue(catalogue or settings.catalogue, settings.overrides).journey(
            time_scale or settings.time_scale
        )
        reader = open_reader(where)
    except (CatalogueError, StoreUnusableError) as error:
        raise click.ClickException(str(error)) from error
    registry, clock = CollectorRegistry(), SystemClock()
    with ExitStack() as held:
        listener = held.enter_context(_listen(address, port))
        held.enter_context(closing(reader))
        snapshots, lookups = Desk(reader, "snapshots"), Desk(reader, "lookups")
        held.callback(snapshots.close)
        held.callback(lookups.close)
        look = Look(journey, clock, settings.cell, settings.region, where)
        live = Live(snapshots, look, ConsoleMetrics(registry))
        console = Console(
            live=live,
            lookups=lookups,
            roles=Roles(watch, httpx.AsyncClient(trust_env=False)),
            health=Health("console", registry, live.unready),
            clock=clock,
            gateway_url=gateway_url,
            hosts=LOOPBACK if address in LOOPBACK else frozenset(),
        )
        click.echo(f"console: http://{_printable(listener)}/")
        asyncio.run(serve(build_app(console), listener))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        reason = f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host and --port"
        raise click.ClickException(reason) from error


def _printable(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
