"""`bems local …`: parts of a cell on this machine. Not here: how they work (bems_streams/local)."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import click
from rich.console import Console

from bems_streams.config import Settings
from bems_streams.local.kafka import EmbeddedKafka, EmbeddedKafkaError

DEFAULT_PORT: Final = 9092
_LOOK_SECONDS: Final = 0.5


@click.group()
def command() -> None:
    """Parts of a cell on this machine."""


@command.command()
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True, help="Size of the cluster.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where data is kept; by default in the state folder.")
@click.option(
    "--port",
    "ports",
    type=click.IntRange(0, 65535),
    multiple=True,
    help=f"The broker's port, {DEFAULT_PORT} by default; 0 takes free ones. For three brokers: the first of three in a "
    "row, or one --port for each.",
)
@click.option(
    "--repository",
    envvar="BEMS_MAVEN_REPOSITORY",
    help="Maven repository to fetch Kafka from, instead of the central one.",
)
def kafka(brokers: str, data_dir: Path | None, ports: Sequence[int], repository: str | None) -> None:
    """Run a real Apache Kafka; Ctrl-C stops it. Prints its address once it serves.

    Needs neither Java nor Docker: Kafka is fetched once for you (45 MB). Data stays between starts. A broker that dies
    is started again. Exit code: 0 stopped as asked, 1 could not run, 2 wrong options.
    """
    count = int(brokers)
    folder = data_dir or Settings().state_dir / ("kafka" if count == 1 else f"kafka-{count}")
    screen = Console(stderr=True, highlight=False)
    try:
        with _stoppable(), spoken(screen) as progress:
            cluster = EmbeddedKafka(
                folder, brokers=count, ports=_ports(ports, count), progress=progress, repository=repository
            )
            with cluster:
                progress("")
                click.echo(cluster.bootstrap)
                screen.print(f"Kafka serves; its data and logs are in {folder}. Ctrl-C stops it.", soft_wrap=True)
                _keep_running(cluster, screen)
    except _StopAskedError:
        screen.print("Kafka is stopped; its data stays.")
    except EmbeddedKafkaError as error:
        raise click.ClickException(str(error)) from error


def _ports(given: Sequence[int], brokers: int) -> Sequence[int] | None:
    """One port for each broker; None for free ones."""
    if len(given) not in {0, 1, brokers}:
        raise click.UsageError(f"Give --port once, or {brokers} times: once for each broker.")
    if 0 in given:
        return None
    if len(given) == brokers:
        return given
    first = given[0] if given else DEFAULT_PORT
    if first + brokers > 65536:
        raise click.UsageError(f"--port {first} leaves no room for {brokers} ports in a row: give a lower one.")
    return range(first, first + brokers)


def _keep_running(cluster: EmbeddedKafka, screen: Console) -> None:
    """Start again what dies. Ends only by an exception: asked to stop, or a broker that cannot be started."""
    pids = dict(cluster.pids)
    while True:
        time.sleep(_LOOK_SECONDS)
        for broker in pids.keys() - cluster.pids.keys():
            screen.print(f"broker {broker} (process {pids[broker]}) died; starting it again", soft_wrap=True)
            cluster.restart(broker)
            pids[broker] = cluster.pids[broker]
            screen.print(f"broker {broker} serves again (process {pids[broker]})", soft_wrap=True)


class _StopAskedError(BaseException):
    """Ctrl-C or SIGTERM. Not an Exception, so that only this file handles it."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise _StopAskedError here, once; stopping itself is not interrupted."""

    def ask(number: int, frame: FrameType | None) -> None:
        for each in previous:
            signal.signal(each, signal.SIG_IGN)
        raise _StopAskedError

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def spoken(screen: Console) -> Iterator[Callable[[str], None]]:
    """Progress as one changing line on a terminal, and as one line for each new activity elsewhere."""
    if screen.is_terminal:
        with screen.status("") as status:
            yield lambda text: status.update(text) if text else status.stop()
        return
    said: list[str] = []

    def say(text: str) -> None:
        activity = text.partition(":")[0]
        if activity and activity not in said[-1:]:
            said.append(activity)
            screen.print(activity, soft_wrap=True)

    yield say
