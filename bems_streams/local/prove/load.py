"""The load of a proof: realistic invoices at a steady rate until it is told to stop, with every receipt kept.

    python -m bems_streams.local.prove.load --gateway URL --gateway URL --bootstrap B --rate R --seed S --out FOLDER

Not here: what is sent (load_source.py), what is written down (load_books.py), sending (local/feeder.py).
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import msgspec

from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.local.feed_pace import at_rate
from bems_streams.local.feed_stop import stop_on_signals
from bems_streams.local.feed_types import FeedOptions, FeedProgress
from bems_streams.local.feeder import feed
from bems_streams.local.prove.load_books import CONTROL, Books, Control, Counters
from bems_streams.local.prove.load_source import LoadSource
from bems_streams.local.simulator_poison import poison
from bems_streams.ports import Appended, Appender
from bems_streams.topics import load_catalogue

TURN_SECONDS: Final = 0.2
SAVE_SECONDS: Final = 1.0
POISON_BATCH: Final = 100
POISON_TIMEOUT_SECONDS: Final = 30.0
FOR_EVER_SECONDS: Final = 1e9
SENDING: Final = FeedOptions(
    connections=4,
    linger_seconds=0.5,
    give_up_after_seconds=FOR_EVER_SECONDS,
    backoff_seconds=0.2,
    longest_backoff_seconds=2.0,
    answer_seconds=12.0,  # a gateway answers within its own delivery timeout of 10 s, unless it is stopped
    single_every=150,
)


@dataclass(frozen=True)
class LoadPlan:
    """What to send, and where."""

    gateways: Sequence[str]
    rate: float
    seed: int
    time_scale: float
    stage_topics: dict[str, str]
    out: Path


class Load:
    """One run. `appender` writes bad records past the gateways."""

    def __init__(self, plan: LoadPlan, books: Books, appender: Appender) -> None:
        self._plan = plan
        self._books = books
        self._appender = appender
        self._source = LoadSource(plan.seed, plan.rate, plan.time_scale)
        self._counters = Counters()
        self._began = time.monotonic()
        self._seen_ns = 0

    async def run(self, stop: asyncio.Event, options: FeedOptions = SENDING) -> str | None:
        """Until `stop`; then what is under way is settled or listed, and all files are complete.

        Returns why it ended by itself, if it did.
        """
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._save_regularly()), group.create_task(self._obey_regularly())]
            summary = await feed(
                at_rate(self._source, self._plan.rate),
                self._plan.gateways,
                options,
                stop=stop,
                on_progress=self._progressed,
                on_refused=self._books.refused,
                on_accepted=self._books.accepted,
            )
            for task in beside:
                task.cancel()
        ended = None if stop.is_set() else summary.stopped
        self._counters.error = ended or self._counters.error
        self._counters.done = True
        self._save()
        return ended

    def _progressed(self, progress: FeedProgress) -> None:
        counters = self._counters
        counters.sent, counters.acknowledged = progress.offered, progress.accepted
        counters.rejected, counters.unacknowledged = progress.rejected, progress.gave_up
        counters.refused_503, counters.retried = progress.unavailable, progress.retries
        counters.waiting = progress.waiting

    def _save(self) -> None:
        self._counters.seconds = round(time.monotonic() - self._began, 3)
        self._counters.cpu_seconds = round(time.process_time(), 3)
        self._counters.duplicates, self._counters.reordered = self._source.duplicates, self._source.reordered
        self._books.save(self._counters)

    async def _save_regularly(self) -> None:
        while True:
            self._save()
            await asyncio.sleep(SAVE_SECONDS)

    async def _obey_regularly(self) -> None:
        while True:
            if (control := self._asked()) is not None:
                self._source.burst_of_duplicates(control.duplicates)
                self._source.burst_of_disorder(control.reorder)
                await self._poison(control.poison)
                self._counters.controls += 1
                self._counters.control = control
                self._save()
            await asyncio.sleep(TURN_SECONDS)

    def _asked(self) -> Control | None:
        """What a new control file asks for. One that makes no sense is named in the counters, and does nothing."""
        path = self._plan.out / CONTROL
        try:
            changed_ns = path.stat().st_mtime_ns
            if changed_ns == self._seen_ns:
                return None
            control = msgspec.json.decode(path.read_bytes(), type=Control)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            self._counters.error = f"{path.name}: {error}: write poison, duplicates and reorder as numbers"
            control = None
        else:
            self._counters.error = None
        self._seen_ns = changed_ns
        return control

    async def _poison(self, records: int) -> None:
        """Each is written once; one that has no proof may be in the log all the same."""
        burst = f"{self._source.scenario(0).run_id}-{self._counters.controls}"
        bad = list(poison(burst, self._plan.seed + self._counters.controls, records, self._plan.stage_topics))
        for start in range(0, len(bad), POISON_BATCH):
            for outcome in await self._appender.append(bad[start : start + POISON_BATCH]):
                if isinstance(outcome, Appended):
                    self._books.poisoned(outcome.at)
                    self._counters.poison += 1
                else:
                    self._counters.poison_unproven += 1


async def run_load(plan: LoadPlan, bootstrap: str) -> str | None:
    """Until SIGTERM or SIGINT; a second one ends it at once, with the files as they are. See Load.run."""
    producer = KafkaProducer(ProducerConfig(bootstrap, "bems-prove-load", POISON_TIMEOUT_SECONDS))
    try:
        with stop_on_signals() as stop, Books(plan.out) as books:
            return await Load(plan, books, producer).run(stop)
    finally:
        await producer.close(POISON_TIMEOUT_SECONDS)


@click.command()
@click.option("--gateway", "gateways", required=True, multiple=True, help="URL of a gateway; give each of the cell.")
@click.option("--bootstrap", required=True, help="Kafka bootstrap servers, for bad records.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), required=True, help="Events per second.")
@click.option("--seed", type=click.IntRange(0), required=True, help="The same seed sends the same events.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of its files.")
@click.option("--time-scale", type=click.FloatRange(0, min_open=True), default=1.0, help="The cell's.")
@click.option("--catalogue", type=click.Path(dir_okay=False, path_type=Path), help="Path of topics.yaml.")
def main(
    gateways: Sequence[str],
    bootstrap: str,
    rate: float,
    seed: int,
    out: Path,
    time_scale: float,
    catalogue: Path | None,
) -> None:
    """Send made-up invoices until SIGTERM."""
    plan = LoadPlan(gateways, rate, seed, time_scale, dict(load_catalogue(catalogue).stage_topics), out)
    if ended := asyncio.run(run_load(plan, bootstrap)):
        raise click.ClickException(f"{ended}. What was sent until then is in {out}.")


if __name__ == "__main__":
    main()
