"""A proof from start to end: a cell under load, the plan carried out, the cell come to rest, the judgement.

Not here: the parts (site.py, engine.py, samples.py, settle.py, judge.py), what is made of the result (proof.py).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bems_streams.adapters.clock import SystemClock
from bems_streams.adapters.kafka_group import KafkaGroup
from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.adapters.stores import open_reader
from bems_streams.local.addresses import role_of
from bems_streams.local.processes import ManagedProcess, ProcessSpawner
from bems_streams.local.prove.engine import SURVIVE_SECONDS, Engine
from bems_streams.local.prove.evidence import TRACKER, Evidence, Finding, Verdict
from bems_streams.local.prove.judge import judge
from bems_streams.local.prove.judge_ledger import ledger_verification
from bems_streams.local.prove.plan import Planned, make_plan
from bems_streams.local.prove.proof import Proof
from bems_streams.local.prove.samples import Sampler
from bems_streams.local.prove.screen import Screen
from bems_streams.local.prove.settle import CALM_SECONDS, Settling
from bems_streams.local.prove.site import Made, ProveOptions, load_process, make_site
from bems_streams.local.supervisor import ChildState, ChildStatus
from bems_streams.ports import GroupOffsets, Offsets, StoreReader
from bems_streams.topics import Catalogue

logger = logging.getLogger(__name__)

READY_SECONDS: Final = 180.0
LOAD_STOP_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 300.0
LOG_ANSWER_SECONDS: Final = 3.0
ALERT_MARGIN_US: Final = 15_000_000


class NotReadyError(Exception):
    """The cell did not come up. The message says who is missing, and where to look."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """What looks at a running cell from outside."""

    log: KafkaLogReader
    reader: StoreReader
    groups: Mapping[str, GroupOffsets]


class Run:
    """One proof. `run` returns its result; whatever happens, nothing is left running."""

    def __init__(self, options: ProveOptions, screen: Screen) -> None:
        self._options = options
        self._screen = screen
        self._problems: list[Finding] = []
        self._interrupted = False

    def run(self) -> Proof:
        """NotReadyError, EmbeddedKafkaError; KeyboardInterrupt only where there is nothing to judge."""
        options = self._options
        plan = make_plan(options.seed, options.minutes, options.site, options.only)
        made = make_site(options, self._screen.doing, self._changed)
        with ExitStack() as held:
            held.enter_context(made.cell)
            eyes = _open(made, options)
            held.callback(eyes.reader.close)
            sampler = Sampler(_ends(made.catalogue, eyes.log), eyes.reader, options.load, SystemClock())
            engine = Engine(
                made.cluster,
                lambda: sampler.latest,
                survive_seconds=min(SURVIVE_SECONDS, options.patience_seconds),
                began=self._screen.began,
                ended=self._screen.ended,
            )
            with self._screen.show(lambda: sampler.latest, lambda: engine.entries):
                self._await_ready(made)
                with sampler:
                    self._load_and_break(made, plan, engine, sampler)
                    restarts = {status.name: status.restarts for status in made.cell.processes.statuses()}
                    judged_us = self._bring_to_rest(made, eyes)
                verdict = self._judge(made, eyes, judged_us)
            return Proof(
                options, plan, engine.entries, sampler.samples, sampler.visible(), sampler.counters(), restarts,
                verdict, engine.ran_seconds, self._interrupted, self._problems,
            )  # fmt: skip

    def _changed(self, status: ChildStatus) -> None:
        if status.state is ChildState.WAITING:
            logger.info("%s ended (%s); it is started again", status.name, status.exit_code)

    def _await_ready(self, made: Made) -> None:
        self._screen.doing("waiting until every process is ready")
        missing = made.cluster.await_ready(READY_SECONDS)
        if missing:
            reasons = "; ".join(f"{name} {reason}" for name, reason in missing.items())
            raise NotReadyError(
                f"not ready after {READY_SECONDS:g} s: {reasons}. See {self._options.state_dir / 'logs'}"
            )

    def _load_and_break(self, made: Made, plan: Sequence[Planned], engine: Engine, sampler: Sampler) -> None:
        """Ctrl-C ends it early, in order: what happened until then is judged all the same."""
        spawner = ProcessSpawner()
        load = ManagedProcess(load_process(self._options, made), spawner)
        try:
            load.start()
            sampler.begin()
            self._screen.doing("calm")
            engine.run(plan, self._options.minutes * 60)
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            self._screen.doing("stopping the load: what is under way is settled first")
            if load.pid is None:
                self._problem(f"the load ended by itself with code {load.exit_code}: see logs/load.log")
            elif (code := load.stop(LOAD_STOP_SECONDS)) != 0:
                self._problem(f"the load did not stop in order (code {code}): see logs/load.log")
            spawner.close()

    def _bring_to_rest(self, made: Made, eyes: Eyes) -> int:
        """Everything handled; then the trackers stop, so that no deadline passes while the rest is looked at.

        Returns until when deadlines were watched.
        """
        made.cluster.ending.clear()
        missing = made.cluster.await_ready(min(READY_SECONDS, self._options.patience_seconds))
        if missing:
            self._problem(f"not ready at the end: {dict(missing)}")
        catalogue = made.catalogue
        stages = tuple(catalogue.stage_topics.values())
        self._settle(made, eyes, {agent: (*stages, *catalogue.lanes(agent)) for agent in eyes.groups}, 0.0)
        watched_until_us = SystemClock().now_us()
        for name in self._options.names:
            if role_of(name) == TRACKER:
                made.cluster.stop(name)
        everything = {agent: (*catalogue.reads(agent), *catalogue.lanes(agent)) for agent in eyes.groups}
        self._settle(made, eyes, everything, CALM_SECONDS)
        return watched_until_us

    def _settle(self, made: Made, eyes: Eyes, topics: Mapping[str, Sequence[str]], calm_seconds: float) -> None:
        partitions = made.catalogue.partitions
        settling = Settling(eyes.log, eyes.groups, eyes.reader, topics, partitions, calm_seconds=calm_seconds)
        seconds = min(SETTLE_SECONDS, self._options.patience_seconds)
        left = settling.wait(seconds, lambda text: self._screen.doing(f"settling: {text}"))
        if left:
            self._problem(f"the cell did not come to rest within {seconds:g} s: {left}")

    def _problem(self, what: str) -> None:
        self._problems.append(Finding("proof", what))

    def _judge(self, made: Made, eyes: Eyes, judged_us: int) -> Verdict:
        evidence = Evidence(
            catalogue=made.catalogue,
            folder=self._options.load,
            cell=self._options.cell,
            time_scale=self._options.time_scale,
            judged_us=judged_us,
            margin_us=ALERT_MARGIN_US,
            log=eyes.log,
            store=eyes.reader,
            groups=eyes.groups,
            verify=ledger_verification(eyes.log, eyes.reader, SystemClock(), made.catalogue, self._options.cell),
        )
        return judge(evidence, lambda what, done, of: self._screen.doing(f"judging: {what}, {done:,} of {of:,}"))


def _open(made: Made, options: ProveOptions) -> Eyes:
    bootstrap = made.cell.kafka.bootstrap
    return Eyes(
        log=KafkaLogReader(bootstrap, answer_seconds=LOG_ANSWER_SECONDS),
        reader=open_reader(options.store_url),
        groups={agent: KafkaGroup(bootstrap, f"bems-{agent}") for agent in made.catalogue.agents},
    )


def _ends(catalogue: Catalogue, log: KafkaLogReader) -> Callable[[], Offsets]:
    places = [(topic, number) for topic in catalogue.stage_topics.values() for number in range(catalogue.partitions)]
    return lambda: log.high_watermarks(places)
