"""One run of a redrive: sends what the plan says at a bounded pace, watches what comes of it, and stops when it must.

    1 plan        before this: each dead letter has a verdict (plan.py)
    2 audit       durable before the first record is sent
    3 send        in order; the first few alone, then so many ahead of the agent at most
    4 watch       what the agent has handled, what failed again
    5 result      from the journal and from what the agent keeps, beside the prediction
    6 audit       how it ended

A run that ends anywhere can go on: the journal knows what was sent, the newest audit entry where to begin. A record
sent twice is harmless: agents are idempotent. Not here: terminals and signals (cli/dlq_redrive.py).
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from bems_streams.flows.dead_letters import DeadLetter, DeadLetters
from bems_streams.flows.lanes import Lanes
from bems_streams.flows.redrive.audit import Run, Step
from bems_streams.flows.redrive.journal import Journal, redriven
from bems_streams.flows.redrive.pace import TokenBucket
from bems_streams.flows.redrive.plan import SLICE_RECORDS, Plan, read_slice, slices
from bems_streams.flows.redrive.predict import AgentSide
from bems_streams.flows.redrive.result import Told, tell
from bems_streams.flows.redrive.terms import NOT_SENT, SENT, Verdict
from bems_streams.flows.redrive.watch import Watch
from bems_streams.ports import (
    Appended,
    Clock,
    GroupOffsets,
    LogReader,
    LogUnavailableError,
    Offsets,
    OutRecord,
    Publisher,
    PublishFailedError,
)
from bems_streams.topics import Catalogue

FIRST_RECORDS: Final = 20
"""Sent alone: no share of relapses is judged on fewer, and what is wrong with all fails on these first."""
AHEAD_RECORDS: Final = 2_000
"""How far sending may be ahead of the agent, so that a stop comes in time."""
BATCH_RECORDS: Final = 200
LOOK_SECONDS: Final = 0.5
AUDIT_SECONDS: Final = 5.0
HANDLED: Final = "handled"


@dataclass(frozen=True)
class Limits:
    """How fast, how many relapses are bearable, how long the agent may do nothing before the run pauses."""

    per_second: float = 200.0
    stop_relapse: float = 0.2
    patience_seconds: float = 120.0


class End(NamedTuple):
    """That a run ends, and why."""

    step: Step
    reason: str | None


class Standing(NamedTuple):
    """For a progress bar."""

    to_send: int
    sent: int
    settled: int
    failed: int


class Ending(NamedTuple):
    """How a run ended: its last audit entry, and what became of its records; None when it paused."""

    run: Run
    told: Told | None


@dataclass(frozen=True)
class Parts:
    """What a run is made from."""

    log: LogReader
    letters: DeadLetters
    publisher: Publisher
    group: GroupOffsets
    clock: Clock
    lanes: Lanes
    side: AgentSide
    audit_topic: str
    stopping: Callable[[], bool]
    show: Callable[[Standing], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def ends_now(letters: DeadLetters, log: LogReader, catalogue: Catalogue, agent: str) -> Offsets:
    """Where everything ends that a run of this agent looks at: what comes after belongs to the run, or to none."""
    topics = (catalogue.redrive_topic(agent), catalogue.ledger_topic)
    others = log.extents([(topic, number) for topic in topics for number in range(catalogue.partitions)])
    return {place: extent.end for place, extent in {**letters.extents(agent), **others}.items()}


class Redrive:
    """Use once. Raises LogUnavailableError or PublishFailedError when even the last audit entry could not be written:
    the run goes on from the one before.
    """

    def __init__(self, parts: Parts, limits: Limits, run: Run, plan: Plan) -> None:
        self._parts = parts
        self._limits = limits
        self._run = run
        self._plan = plan
        self._journal = Journal(parts.log, run.name, run.ends_of({parts.lanes.redrive_topic}))
        ends = run.ends_of(parts.letters.sources)
        self._watch = Watch(run.name, parts.letters, parts.log, parts.group, ends)
        self._bucket = TokenBucket(limits.per_second, parts.clock)
        self._positions = dict(run.positions)
        self._passed = Counter({verdict: run.result.get(verdict, 0) for verdict in NOT_SENT})
        self._looked_us = self._audited_us = self._moved_us = parts.clock.now_us()

    async def run(self) -> Ending:
        """Send what is to be sent, wait for what comes of it, and tell."""
        try:
            self._begin()
            await self._audit(Step.STARTED, None)
            end = await self._send() or await self._settle() or End(Step.FINISHED, None)
            if end.step is Step.STOPPED:
                end = await self._settle() or end
            if end.step is Step.PAUSED:
                return Ending(await self._audit(*end), None)
            self._parts.side.observe(self._run.ends)
            told = tell(self._journal, self._watch, self._parts.side)
            return Ending(await self._audit(*end, told.result), told)
        except (LogUnavailableError, PublishFailedError) as error:
            return Ending(await self._audit(Step.PAUSED, str(error)), None)

    def _begin(self) -> None:
        """What the run sent before it was resumed counts, too."""
        predicted = self._plan.counts + self._passed
        for sent in self._journal.sent():
            self._watch.add(sent.original.at, sent.raw.at)
            predicted[sent.predicted] += 1
        self._run = replace(
            self._run, prediction={verdict.value: predicted[verdict] for verdict in Verdict if predicted[verdict]}
        )

    async def _send(self) -> End | None:
        for waiting in self._slices():
            while waiting:
                if end := self._look() or self._relapse():
                    return end
                room = min(self._room(), self._bucket.available(), BATCH_RECORDS)
                if room > 0:
                    await self._forward(waiting, room)
                    await self._note_progress()
                else:
                    pause_seconds = self._bucket.wait_seconds() if self._room() > 0 else LOOK_SECONDS
                    await self._parts.sleep(min(pause_seconds, LOOK_SECONDS))
        return None

    async def _settle(self) -> End | None:
        """Wait until the agent has come to everything that was sent."""
        while True:
            if end := self._look():
                return end
            if self._watch.settled == self._watch.sent:
                return None
            await self._note_progress()
            await self._parts.sleep(LOOK_SECONDS)

    def _slices(self) -> Iterator[deque[DeadLetter]]:
        """Dead letters with their bytes, a part at a time."""
        picks = {place: [*verdicts] for place, verdicts in self._plan.verdicts.items()}
        for part in slices(picks, SLICE_RECORDS):
            yield deque(read_slice(self._parts.letters, part))

    def _room(self) -> int:
        """How many more may be under way."""
        sent, settled = self._watch.sent, self._watch.settled
        return FIRST_RECORDS - sent if settled < FIRST_RECORDS else AHEAD_RECORDS - (sent - settled)

    def _look(self) -> End | None:
        """See what has become of what was sent; an end when there is a reason for it."""
        if self._parts.stopping():
            return End(Step.PAUSED, "asked to stop")
        watch, now_us = self._watch, self._parts.clock.now_us()
        if not 0 <= now_us - self._looked_us < LOOK_SECONDS * 1e6:
            settled = watch.settled
            watch.look()
            self._looked_us = now_us
            if watch.settled > settled or watch.settled == watch.sent:
                self._moved_us = now_us
            self._parts.show(Standing(self._plan.to_send, watch.sent, watch.settled, watch.failed))
        if now_us - self._moved_us > self._limits.patience_seconds * 1e6:
            return End(
                Step.PAUSED,
                f"the {self._parts.lanes.agent} has handled nothing for {self._limits.patience_seconds:g} s; "
                f"see that `bems worker {self._parts.lanes.agent}` runs and is ready",
            )
        return None

    def _relapse(self) -> End | None:
        settled, failed = self._watch.settled, self._watch.failed
        if settled < FIRST_RECORDS or failed / settled <= self._limits.stop_relapse:
            return None
        share = f"{failed} of {settled} records failed again ({failed / settled:.0%})"
        return End(Step.STOPPED, f"{share}, more than {self._limits.stop_relapse:.0%}: nothing more was sent")

    async def _forward(self, waiting: deque[DeadLetter], room: int) -> None:
        """Send the next `room` records, and pass those that are not to be sent."""
        parts, now_us = self._parts, self._parts.clock.now_us()
        letters: list[tuple[DeadLetter, Verdict]] = []
        out: list[OutRecord] = []
        while waiting and len(out) < room:
            letter = waiting.popleft()
            verdict = self._plan.verdicts[letter.at.topic, letter.at.partition][letter.at.offset]
            letters.append((letter, verdict))
            if verdict in SENT:
                out.append(redriven(letter, parts.lanes.redrive_topic, self._run.name, now_us, verdict))
        proofs = iter(await self._durable(out))
        for letter, verdict in letters:
            if verdict in SENT:
                self._watch.add(letter.record.at, next(proofs).at)
            else:
                self._passed[verdict] += 1
            self._positions[letter.at.topic, letter.at.partition] = letter.at.offset + 1
        self._bucket.take(len(out))
        self._moved_us = now_us

    async def _durable(self, out: Sequence[OutRecord]) -> Sequence[Appended]:
        """A broker that comes and goes is waited for."""
        began_us = self._parts.clock.now_us()
        while True:
            try:
                return await self._parts.publisher.publish(out)
            except PublishFailedError as error:
                waited_us = self._parts.clock.now_us() - began_us
                if not error.retriable or self._parts.stopping() or waited_us > self._limits.patience_seconds * 1e6:
                    raise
            await self._parts.sleep(LOOK_SECONDS)

    async def _note_progress(self) -> None:
        if self._parts.clock.now_us() - self._audited_us >= AUDIT_SECONDS * 1e6:
            await self._audit(Step.SENDING, None)

    async def _audit(self, step: Step, reason: str | None, told: Mapping[Verdict, int] | None = None) -> Run:
        """Write down how it stands now."""
        watch, lanes = self._watch, self._parts.lanes
        result = Counter[str](self._passed)
        if told is None:
            handled = {HANDLED: watch.settled - watch.failed, "still_failing": watch.failed}
            result.update(handled | {"pending": watch.sent - watch.settled})
        else:
            result.update(told)
        run = replace(
            self._run,
            step=step,
            reason=reason,
            at_us=self._parts.clock.now_us(),
            positions=dict(self._positions),
            result={str(name): number for name, number in result.items() if number},
        )
        await self._durable([run.entry(self._parts.audit_topic, lanes.cell, lanes.region)])
        self._audited_us = run.at_us
        return run
