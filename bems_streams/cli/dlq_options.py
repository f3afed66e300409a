"""Options of everything that looks at dead letters, and the parts that a look is made of.

Not here: what is done with them. Exit codes: 1 what was asked for is not there or did not come true, 2 broker, store or
catalogue cannot be read.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.adapters.stores import open_reader
from bems_streams.catalogue.document import parse_duration
from bems_streams.cli.ledger_options import MomentType
from bems_streams.cli.store_options import store_url
from bems_streams.config import Settings
from bems_streams.domain.failures import FAILURES
from bems_streams.domain.journey import StageLostError
from bems_streams.flows.dead_letters import DeadLetters, Filter, Since
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.redrive.plan import Planner
from bems_streams.flows.redrive.predict import AgentSide, agent_side
from bems_streams.ports import (
    Clock,
    LogReader,
    LogUnavailableError,
    PublishFailedError,
    StoreReader,
    StoreUnavailableError,
    StoreUnusableError,
)
from bems_streams.topics import Catalogue, CatalogueError, load_catalogue


class CannotReadError(click.ClickException):
    """Broker, store or catalogue could not be asked: nothing is known about dead letters."""

    exit_code = 2


class AgoType(MomentType):
    """A moment, or how long ago: `2h`, `30m`, `7d`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Microseconds since 1970 UTC."""
        try:
            ago: timedelta = parse_duration(value)
        except ValueError:
            return super().convert(value, param, ctx)
        return SystemClock().now_us() - ago // timedelta(microseconds=1)


def filter_options(function: Callable[..., None]) -> Callable[..., None]:
    """Which dead letters are meant; the function gets them as `asked`, a Filter."""

    @wraps(function)
    def filtered(**given: Any) -> None:
        asked = Filter(**{field.name: given.pop(field.name) for field in fields(Filter)})
        function(asked=asked, **given)

    for option in (
        click.option("--invoice", help="Only those of this invoice: the key of their records."),
        click.option("--until", "until_us", type=AgoType(), help="Only those that failed before this time."),
        click.option(
            "--since", "since_us", type=AgoType(), help="Only those that failed since: 2026-03-02T09:00:00Z, or 2h ago."
        ),
        click.option("--stage", help="Only those of events of this stage, such as posting."),
        click.option("--code", type=click.Choice(sorted(FAILURES)), metavar="CODE", help="Only those of this failure."),
        click.option("--agent", help="Only those of this agent, such as sink."),
    ):
        filtered = option(filtered)
    return filtered


@dataclass(frozen=True)
class Desk:
    """What looking at dead letters needs. `reader` may be of a store that is not there: see `require_store`."""

    settings: Settings
    catalogue: Catalogue
    clock: Clock
    log: LogReader
    letters: DeadLetters
    reader: StoreReader
    store_url: str

    def require_store(self) -> None:
        """Without the store nobody knows what was handled since."""
        if not self.reader.exists():
            raise CannotReadError(
                f"there is no store at {self.store_url}: name the right one with --state-dir or --store; the sink "
                "(bems worker sink, or bems demo) creates it"
            )

    def check(self, asked: Filter) -> None:
        """BadParameter when it names what the catalogue does not have: nothing would ever match."""
        stages, agents = self.catalogue.stage_topics, self.catalogue.agents
        if asked.agent is not None and asked.agent not in agents:
            raise click.BadParameter(f"no agent {asked.agent!r}: there are {', '.join(agents)}", param_hint="--agent")
        if asked.stage is not None and asked.stage not in stages:
            raise click.BadParameter(f"no stage {asked.stage!r}: there are {', '.join(stages)}", param_hint="--stage")

    def lanes(self, agent: str) -> Lanes:
        """Of one agent."""
        return Lanes.of(self.catalogue, agent, self.settings.cell, self.settings.region)

    def side(self, agent: str) -> AgentSide:
        """What predicts for one agent."""
        lanes, scale = self.lanes(agent), self.settings.time_scale
        return agent_side(self.catalogue, lanes, self.clock, self.log, self.reader, scale)

    def planner(self, agent: str) -> Planner:
        """What would be sent to one agent."""
        return Planner(self.letters, Since(self.reader), self.side(agent), self.lanes(agent))


@contextmanager
def desk(*, bootstrap: str | None, catalogue: Path | None, state_dir: Path | None, store: str | None) -> Iterator[Desk]:
    """Everything opened, and closed at the end. Trouble with it ends the command with a message."""
    given = {"bootstrap": bootstrap, "catalogue": catalogue}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    try:
        loaded = load_catalogue(settings.catalogue, settings.overrides)
        url = store_url(settings, state_dir, store)
        reader = open_reader(url)
        try:
            log = KafkaLogReader(settings.bootstrap, client_id="bems-dlq")
            yield Desk(settings, loaded, SystemClock(), log, DeadLetters(log, loaded), reader, url)
        finally:
            reader.close()
    except (CatalogueError, LogUnavailableError, StoreUnavailableError, StoreUnusableError, StageLostError) as error:
        raise CannotReadError(str(error)) from error
    except PublishFailedError as error:
        raise CannotReadError(f"the broker does not take what must be written: {error}") from error
