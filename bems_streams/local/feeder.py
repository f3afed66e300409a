"""Sends events through a gateway until each one is accepted, rejected or given up: routing, retries, the end.

An event is only ever retried with the same bytes, which is safe: the cell recognises its event_id.
Not here: collecting batches (feed_lanes.py), HTTP answers (feed_http.py), where events come from (feed_lines.py).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final
from zlib import crc32

import msgspec

from bems_streams.domain.failures import Problem
from bems_streams.local.feed_http import (
    Again,
    AllRefused,
    ComeBack,
    EventReply,
    GatewayClient,
    Indigestible,
    NotAGateway,
    PerEvent,
    Refused,
    Reply,
    Taken,
)
from bems_streams.local.feed_lanes import Batch, Lane, Patience
from bems_streams.local.feed_tally import Tally
from bems_streams.local.feed_types import (
    FeedOptions,
    FeedProgress,
    FeedSummary,
    Offer,
    Outcome,
    Refusal,
    SourceError,
)

Source = Iterable[Offer | Refusal] | AsyncIterable[Offer | Refusal]
OFFERS_BETWEEN_TURNS: Final = 64
STOPPED: Final = "stopped on request"


async def feed(
    offers: Source,
    url: str | Sequence[str],
    options: FeedOptions,
    *,
    stop: asyncio.Event | None = None,
    on_progress: Callable[[FeedProgress], None] = lambda progress: None,
    on_refused: Callable[[Refusal], None] = lambda refusal: None,
    on_accepted: Callable[[Offer, Taken], None] = lambda offer, taken: None,
) -> FeedSummary:
    """Send everything, to any of the cell's gateways. Memory is bounded by the options, whatever the number of offers.

    The callbacks hear of an event before it is counted.

    Setting `stop` ends it gracefully: nothing more is read, what was read is sent once more and not retried.
    Cancelling ends it at once; what was under way is then unknown. What the source or a callback raises comes out
    in an ExceptionGroup, except SourceError, which ends the reading only and becomes `FeedSummary.stopped`.
    """
    urls = [url] if isinstance(url, str) else url
    async with GatewayClient(urls, options.connections, options.answer_seconds) as gateway:
        feeding = _Feeding(gateway, options, Tally(on_progress, on_refused, on_accepted))
        return await feeding.run(offers, stop or asyncio.Event())


class _Head(msgspec.Struct):
    invoice_id: Any = None


_decode_head = msgspec.json.Decoder(_Head).decode


class _Feeding:
    """One run of `feed`."""

    def __init__(self, gateway: GatewayClient, options: FeedOptions, tally: Tally) -> None:
        self._gateway = gateway
        self._options = options
        self._tally = tally
        self._lanes = [Lane(options) for _ in range(options.connections)]
        self._halt = asyncio.Event()  # no more reading, no more waiting
        self._hopeless: str | None = None  # why sending more is pointless

    async def run(self, offers: Source, stop: asyncio.Event) -> FeedSummary:
        async with asyncio.TaskGroup() as group:
            obeying = group.create_task(self._obey(stop))
            sending = [group.create_task(self._send_rounds(lane)) for lane in self._lanes]
            flushing = [group.create_task(self._flush_regularly(lane)) for lane in self._lanes]
            await self._read_until_halt(offers, group)
            for task in flushing:
                task.cancel()
            for lane in self._lanes:
                await lane.finish()
            await asyncio.wait(sending)
            obeying.cancel()
        return self._tally.summary()

    async def _obey(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._halt.set()

    async def _flush_regularly(self, lane: Lane) -> None:
        while True:
            await asyncio.sleep(self._options.linger_seconds)
            await lane.flush()

    async def _read_until_halt(self, offers: Source, group: asyncio.TaskGroup) -> None:
        reading = group.create_task(self._read(offers))
        halted = group.create_task(self._halt.wait())
        await asyncio.wait((reading, halted), return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, halted):
            task.cancel()
        await asyncio.wait((reading, halted))
        if reading.cancelled():
            self._tally.stopped = self._tally.stopped or STOPPED

    async def _read(self, offers: Source) -> None:
        try:
            async with aclosing(_turns(offers)) as turns:
                async for offer in turns:
                    self._tally.offered()
                    if isinstance(offer, Refusal):
                        self._tally.refused(offer)
                    else:
                        await self._route(offer)
        except SourceError as error:
            self._tally.stopped = str(error)

    async def _route(self, offer: Offer) -> None:
        """Into the lane of its invoice. No await before it is there: a halt must not lose it."""
        try:
            invoice_id = _decode_head(offer.raw).invoice_id
        except msgspec.ValidationError:  # no object, but JSON all the same
            await self._lanes[0].add(offer)
        except (msgspec.DecodeError, RecursionError):
            await self._lanes[0].add_bare(offer)
        else:
            number = crc32(invoice_id.encode()) if isinstance(invoice_id, str) else 0
            lane = self._lanes[number % len(self._lanes)]
            if self._options.single_every and self._tally.offers % self._options.single_every == 0:
                await lane.add_bare(offer)
            else:
                await lane.add(offer)

    async def _send_rounds(self, lane: Lane) -> None:
        patience = Patience(self._options)
        async for batches in lane.rounds():
            unsettled = batches[::-1]
            while unsettled:
                batch = unsettled.pop()
                if self._hopeless is None:
                    unsettled += reversed(await self._try(batch, patience))
                else:
                    self._settle_all(batch, Outcome.GAVE_UP, (Problem("", self._hopeless),))

    async def _try(self, batch: Batch, patience: Patience) -> Sequence[Batch]:
        """Send once and settle what the answer settles. Returns what is to be sent next, in order, after waiting."""
        self._tally.requests += 1
        reply = await self._send(batch)
        match reply:
            case PerEvent(replies, after_seconds):
                left = self._settle_each(batch, replies, patience)
                return await self._later(left[0], patience, left[1], after_seconds) if left else ()
            case ComeBack(reason, after_seconds, status):
                self._tally.turned_away(status, len(batch.offers))
                return await self._later(batch, patience, reason, after_seconds)
            case Indigestible() if len(batch.offers) > 1:
                return batch.halves()
            case Indigestible(problems) | AllRefused(problems):
                patience.reset()
                self._settle_all(batch, Outcome.REJECTED, problems)
                return ()
            case NotAGateway(reason):
                self._despair(reason)
                return (batch,)

    async def _send(self, batch: Batch) -> Reply:
        if batch.bare:
            return await self._gateway.send_bare(batch.stage, batch.offers[0].raw)
        return await self._gateway.send(batch.stage, [offer.raw for offer in batch.offers])

    async def _later(
        self, batch: Batch, patience: Patience, reason: str, after_seconds: float | None
    ) -> Sequence[Batch]:
        """Wait before `batch` is sent again; when there is no more waiting, settle it or give everything up."""
        wait_seconds = patience.next_wait_seconds(asyncio.get_running_loop().time(), after_seconds)
        if wait_seconds is None:
            self._despair(f"{reason}; gave up after {self._options.give_up_after_seconds:g} s")
        elif self._halt.is_set():
            self._tally.stopped = self._tally.stopped or STOPPED
            self._settle_all(batch, Outcome.GAVE_UP, (Problem("", f"{reason}; not retried because of a stop"),))
            return ()
        else:
            with self._tally.waiting(f"{reason}, retrying"):
                await _either(self._halt, wait_seconds)
            self._tally.retries += 1
        return (batch,)

    def _despair(self, reason: str) -> None:
        self._hopeless = self._hopeless or reason
        self._tally.stopped = self._tally.stopped or reason
        self._halt.set()

    def _settle_each(self, batch: Batch, replies: Sequence[EventReply], patience: Patience) -> tuple[Batch, str] | None:
        """What is left to be sent again and why; None when nothing is."""
        again: list[Offer] = []
        reason = ""
        for offer, reply in zip(batch.offers, replies, strict=True):
            match reply:
                case Taken():
                    self._tally.accepted(offer, reply)
                case Refused(problems):
                    self._tally.refused(Refusal(*offer, Outcome.REJECTED, problems))
                case Again(reason, status):
                    self._tally.turned_away(status, 1)
                    again.append(offer)
        self._tally.show()
        if len(again) < len(batch.offers):
            patience.reset()
        return (batch._replace(offers=again), reason) if again else None

    def _settle_all(self, batch: Batch, outcome: Outcome, problems: tuple[Problem, ...]) -> None:
        for offer in batch.offers:
            self._tally.refused(Refusal(*offer, outcome, problems))
        self._tally.show()


async def _turns(offers: Source) -> AsyncGenerator[Offer | Refusal, None]:
    """One iterator for both sorts of source, which lets senders take turns with it."""
    if isinstance(offers, AsyncIterable):
        since = 0
        async for offer in offers:
            yield offer
            since += 1
            if since % OFFERS_BETWEEN_TURNS == 0:
                await asyncio.sleep(0)
        return
    for place, offer in enumerate(offers, start=1):
        yield offer
        if place % OFFERS_BETWEEN_TURNS == 0:
            await asyncio.sleep(0)


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Until the event or for so long, whichever comes first."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
