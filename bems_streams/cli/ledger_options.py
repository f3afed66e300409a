"""Options of everything that looks at the ledger, and the parts that a look is made of.

Not here: what is done with a look. Exit codes: 1 the ledger is not closed, 2 broker, store or catalogue cannot be read.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.adapters.stores import open_reader
from bems_streams.cli.store_options import store_options, store_url
from bems_streams.config import Settings
from bems_streams.domain.event import microseconds
from bems_streams.flows.reconcile import Reconciler, Scope
from bems_streams.ports import LogReader, LogUnavailableError, StoreReader, StoreUnavailableError, StoreUnusableError
from bems_streams.topics import Catalogue, CatalogueError, load_catalogue

_F = TypeVar("_F", bound=Callable[..., Any])


class CannotVerifyError(click.ClickException):
    """Broker, store or catalogue could not be read: nothing is known about the ledger."""

    exit_code = 2


class Books(NamedTuple):
    """What a look is made of."""

    settings: Settings
    catalogue: Catalogue
    scope: Scope
    log: LogReader
    reader: StoreReader
    store_url: str
    reconciler: Reconciler

    def require_store(self) -> None:
        """A store that is not there would look like one that lost everything."""
        if not self.reader.exists():
            raise CannotVerifyError(
                f"there is no store at {self.store_url}: name the right one with --state-dir or --store; the sink "
                "(bems worker sink, or bems demo) creates it"
            )


def ledger_options(function: _F) -> _F:
    """Where log, store and catalogue are."""
    for option in (
        click.option("--catalogue", type=click.Path(path_type=Path), help="Path of topics.yaml. [BEMS_CATALOGUE]"),
        click.option("--bootstrap", help="Kafka bootstrap servers, host:port[,...]. [BEMS_BOOTSTRAP, 127.0.0.1:9092]"),
    ):
        function = option(function)
    return store_options(function)


def scope_options(function: _F) -> _F:
    """Which part is looked at."""
    for option in (
        click.option("--agent", "agents", multiple=True, help="Only this agent's account, such as sink."),
        click.option("--stage", "stages", multiple=True, help="Only the topic of this stage, such as posting."),
        click.option("--topic", "topics", multiple=True, help="Only this topic, such as invoices.posting."),
    ):
        function = option(function)
    return function


class MomentType(click.ParamType):
    """A moment in RFC 3339, in UTC where no offset is given; as microseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """`2026-03-02T09:00:00Z`, `2026-03-02T10:00+01:00`, `2026-03-02`."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: write it like 2026-03-02T09:00:00Z", param, ctx)
        return microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@contextmanager
def books(
    *,
    bootstrap: str | None,
    catalogue: Path | None,
    state_dir: Path | None,
    store: str | None,
    topics: tuple[str, ...] = (),
    stages: tuple[str, ...] = (),
    agents: tuple[str, ...] = (),
) -> Iterator[Books]:
    """Everything opened, and closed at the end. Trouble with it ends the command with a message."""
    given = {"bootstrap": bootstrap, "catalogue": catalogue}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    try:
        loaded = load_catalogue(settings.catalogue, settings.overrides)
        scope = Scope.of(loaded)
        narrow = scope.only({*topics, *_topics_of(scope, stages)}, agents)
        _refuse_unknown(scope, {*topics}, {*agents})
        url = store_url(settings, state_dir, store)
        reader = open_reader(url)
        try:
            log = KafkaLogReader(settings.bootstrap, client_id="bems-ledger")
            yield Books(settings, loaded, narrow, log, reader, url, Reconciler(log, reader, SystemClock(), narrow))
        finally:
            reader.close()
    except (CatalogueError, LogUnavailableError, StoreUnavailableError, StoreUnusableError) as error:
        raise CannotVerifyError(str(error)) from error


def _topics_of(scope: Scope, stages: tuple[str, ...]) -> list[str]:
    of = {stage: topic for topic, stage in scope.stage_of.items()}
    unknown = [stage for stage in stages if stage not in of]
    if unknown:
        raise click.BadParameter(f"no stage {', '.join(unknown)}: there are {', '.join(of)}", param_hint="--stage")
    return [of[stage] for stage in stages]


def _refuse_unknown(scope: Scope, topics: set[str], agents: set[str]) -> None:
    known = {one.agent for one in scope.books}
    if topics - set(scope.stage_of):
        raise click.BadParameter(f"accounted for are {', '.join(scope.stage_of)}", param_hint="--topic")
    if agents - known:
        raise click.BadParameter(f"accounts are kept by {', '.join(sorted(known))}", param_hint="--agent")
