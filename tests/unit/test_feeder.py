"""Feeding: every event offered ends in exactly one outcome, whatever the gateway does."""

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from bems_streams.domain.failures import Problem
from bems_streams.local.feed_http import ComeBack, NotAGateway, interpret
from bems_streams.local.feed_lanes import Patience
from bems_streams.local.feed_types import (
    FeedOptions,
    FeedProgress,
    FeedSummary,
    Offer,
    Outcome,
    Refusal,
    SourceError,
    StageCounts,
)
from bems_streams.local.feeder import OFFERS_BETWEEN_TURNS, Source, feed
from tests.unit.fake_gateway import PROBLEM, Drop, FakeGateway, Policy, Reply, Request, everyday

QUICK = FeedOptions(
    batch_events=10, linger_seconds=0.01, backoff_seconds=0.005, longest_backoff_seconds=0.02, give_up_after_seconds=20
)
IMPATIENT = FeedOptions(
    batch_events=10, linger_seconds=0.01, backoff_seconds=0.005, longest_backoff_seconds=0.02, give_up_after_seconds=0.1
)


RECEIPT = Reply(202, {"event_id": "e", "topic": "invoices.posting", "partition": 3, "offset": 1, "accepted_at": "now"})


def event(number: int, *, stage: str = "ingestion", invoice: int | None = None, more: str = "") -> Offer:
    """Bytes that no encoder of ours would write, to see that they are kept."""
    invoice_id = f"i{number % 7 if invoice is None else invoice}"
    raw = f'{{ "invoice_id":"{invoice_id}","n":{number}.50,  "stage":"{stage}"{more} }}'
    return Offer(stage, raw.encode(), number)


def first_times(times: int, reply: Reply | Drop) -> Policy:
    """The first requests get this answer, later ones the everyday one."""
    left = itertools.count(times, -1)
    return lambda request: reply if next(left) > 0 else None


class Watch:
    """What the feed told while it ran."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self.progress: list[FeedProgress] = []

    async def feed(
        self, offers: Source, url: str | Sequence[str], options: FeedOptions = QUICK, stop: asyncio.Event | None = None
    ) -> FeedSummary:
        summary = await feed(
            offers, url, options, stop=stop, on_progress=self.progress.append, on_refused=self.refusals.append
        )
        assert summary.offered == summary.accepted + summary.rejected + summary.gave_up
        assert Counter(refusal.outcome for refusal in self.refusals) == +Counter(
            {Outcome.REJECTED: summary.rejected, Outcome.GAVE_UP: summary.gave_up}
        )
        return summary


@pytest.fixture
def watch() -> Watch:
    return Watch()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def eventually(condition: Callable[[], bool]) -> None:
    """Poll with a deadline."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the other side is a thread
            await asyncio.sleep(0.005)


async def test_every_event_arrives_once_with_its_own_bytes(watch: Watch) -> None:
    """What reaches the gateway is what was offered, byte for byte, and each event is accepted."""
    # given
    offers = [event(n, stage=("ingestion", "posting")[n % 2]) for n in range(57)]
    # when
    with FakeGateway() as gateway:
        summary = await watch.feed(offers, gateway.url)
    # then
    assert sorted(gateway.raws) == sorted(offer.raw for offer in offers)
    assert {request.stage for request in gateway.requests} == {"ingestion", "posting"}
    assert all(f'"stage":"{r.stage}"'.encode() in raw for r in gateway.requests for raw in r.raws)
    assert (summary.accepted, summary.retries, summary.stopped) == (57, 0, None)
    assert summary.stages == {"ingestion": StageCounts(accepted=29), "posting": StageCounts(accepted=28)}


async def test_events_of_one_invoice_arrive_in_the_order_they_were_offered(watch: Watch) -> None:
    """Several connections, of which some are held up by retries, never reorder the events of an invoice in a stage."""
    offers = [event(n) for n in range(300)]
    taken: list[bytes] = []
    turns = itertools.count()

    def policy(request: Request) -> Drop | None:
        if next(turns) % 3:
            return Drop()
        taken.extend(request.raws)
        return None

    with FakeGateway(policy) as gateway:
        await watch.feed(offers, gateway.url)
    for invoice in range(7):
        mine = [offer.raw for offer in offers if f'"i{invoice}"'.encode() in offer.raw]
        assert [raw for raw in taken if raw in mine] == mine


async def test_a_mixed_answer_rejects_only_the_bad_events_and_names_the_field(watch: Watch) -> None:
    """207: good ones are accepted, bad ones come back with problems whose path is the event's own field."""
    offers = [event(n, more=',"bad":1' if n % 10 == 3 else "") for n in range(30)]
    with FakeGateway() as gateway:
        summary = await watch.feed(offers, gateway.url)
    assert (summary.accepted, summary.rejected) == (27, 3)
    assert {refusal.tag for refusal in watch.refusals} == {3, 13, 23}
    assert {refusal.problems for refusal in watch.refusals} == {(Problem("bad", "unknown field"),)}
    assert {refusal.raw for refusal in watch.refusals} == {offers[n].raw for n in (3, 13, 23)}


async def test_a_batch_of_bad_events_is_rejected_event_by_event(watch: Watch) -> None:
    """400 with a result for each event: all rejected, nothing is tried again."""
    offers = [event(n, more=',"bad":1') for n in range(20)]
    with FakeGateway() as gateway:
        summary = await watch.feed(offers, gateway.url)
    assert (summary.rejected, len(gateway.raws)) == (20, 20)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, headers={"retry-after": "0"}),
        Reply(503, headers={"retry-after": "0"}),
        Reply(500),
        Reply(408),
        Drop(),
    ],
    ids=["429", "503", "500", "408", "dropped connection"],
)
async def test_a_refused_or_broken_request_is_sent_again_with_the_same_bytes(watch: Watch, reply: Reply | Drop) -> None:
    """The gateway said nothing about the events, so all of them are sent again, as they were."""
    offers = [event(n, invoice=1) for n in range(8)]
    with FakeGateway(first_times(3, reply)) as gateway:
        summary = await watch.feed(offers, gateway.url)
    assert (summary.accepted, summary.retries) == (8, 3)
    assert Counter(gateway.raws) == dict.fromkeys((offer.raw for offer in offers), 4)


async def test_an_answer_lost_after_the_events_were_taken_leads_to_a_second_sending_and_one_acceptance(
    watch: Watch,
) -> None:
    """Ambiguous failures are retried; the summary counts each event once although the cell may hold it twice."""
    taken: list[bytes] = []

    def policy(request: Request) -> Reply | Drop | None:
        taken.extend(request.raws)
        return Drop() if len(taken) <= 5 else None

    with FakeGateway(policy) as gateway:
        summary = await watch.feed([event(n, invoice=1) for n in range(5)], gateway.url)
    assert len(taken) == 10
    assert (summary.offered, summary.accepted) == (5, 5)


async def test_only_events_without_proof_are_sent_again(watch: Watch) -> None:
    """503 for some of a batch: those alone come again, the others are settled."""
    offers = [event(n, invoice=1) for n in range(6)]
    seen: Counter[bytes] = Counter()

    def policy(request: Request) -> Reply:
        seen.update(request.raws)
        reply = everyday(request)
        for item, raw in zip(reply.body["items"], request.raws, strict=True):
            if raw in (offers[2].raw, offers[4].raw) and seen[raw] == 1:
                item.update(status=503, detail="broker away")
        return Reply(207, reply.body, {"retry-after": "0"})

    with FakeGateway(policy) as gateway:
        summary = await watch.feed(offers, gateway.url)
    assert summary.accepted == 6
    assert seen == {offer.raw: 2 if offer.tag in (2, 4) else 1 for offer in offers}


async def test_a_batch_that_is_too_large_is_split_until_it_fits(watch: Watch) -> None:
    """413: smaller batches, in order, until the gateway takes them."""
    offers = [event(n, invoice=1) for n in range(10)]
    with FakeGateway(lambda request: Reply(413) if len(request.raws) > 3 else None) as gateway:
        summary = await watch.feed(offers, gateway.url)
        taken = [raw for request in gateway.requests if len(request.raws) <= 3 for raw in request.raws]
    assert summary.accepted == 10
    assert taken == [offer.raw for offer in offers]


async def test_one_event_that_is_too_large_by_itself_is_rejected_and_the_others_go_on(watch: Watch) -> None:
    """413 for a single event can never be cured by splitting."""
    offers = [event(n, invoice=1, more=',"big":1' if n == 4 else "") for n in range(10)]
    with FakeGateway(lambda request: Reply(413) if any(b'"big"' in r for r in request.raws) else None) as gateway:
        summary = await watch.feed(offers, gateway.url)
    assert (summary.accepted, summary.rejected) == (9, 1)
    assert watch.refusals[0].tag == 4


async def test_an_event_that_spoils_its_batch_is_found_and_rejected_alone(watch: Watch) -> None:
    """400 about the body as a whole: halving finds the culprit."""
    spoilt = Reply(400, {"title": "bad body", "detail": "not an array", "status": 400}, PROBLEM)
    offers = [event(n, invoice=1, more=',"spoils":1' if n == 6 else "") for n in range(10)]
    with FakeGateway(lambda request: spoilt if any(b'"spoils"' in r for r in request.raws) else None) as gateway:
        summary = await watch.feed(offers, gateway.url)
    assert (summary.accepted, summary.rejected) == (9, 1)
    assert watch.refusals == [Refusal(*offers[6], Outcome.REJECTED, (Problem("", "not an array"),))]


async def test_what_is_not_json_travels_alone(watch: Watch) -> None:
    """Broken bytes cannot break the array of others: they are a body of their own, refused by themselves."""
    broken = Offer("ingestion", b'{"invoice_id":"i1"},{"invoice_id":"i2"}', "broken")
    with FakeGateway() as gateway:
        summary = await watch.feed([event(1), broken, event(2)], gateway.url)
    assert (summary.accepted, summary.rejected) == (2, 1)
    assert [request.raws for request in gateway.requests if request.bare] == [[broken.raw]]
    assert watch.refusals[0].tag == "broken"


async def test_some_events_can_be_requests_of_their_own_and_stay_in_order(watch: Watch) -> None:
    """Every third event is a whole body; the events of a stage arrive in the order they were offered all the same."""
    offers = [event(n, invoice=1, stage=("ingestion", "posting")[n % 2]) for n in range(30)]
    single = FeedOptions(batch_events=1000, linger_seconds=0.05, single_every=3)
    with FakeGateway(lambda request: RECEIPT if request.bare else None) as gateway:
        summary = await watch.feed(offers, gateway.url, single)
        arrived = [(request.stage, raw) for request in gateway.requests for raw in request.raws]
        alone = sum(request.bare for request in gateway.requests)
    assert (summary.accepted, alone) == (30, 10)
    for stage in ("ingestion", "posting"):
        assert [raw for at, raw in arrived if at == stage] == [offer.raw for offer in offers if offer.stage == stage]


async def test_another_gateway_takes_what_one_cannot(watch: Watch) -> None:
    """One of two gateways is away: all events are accepted by the other, and both get work once both are there."""
    offers = [event(n) for n in range(200)]
    with FakeGateway() as gateway:
        summary = await watch.feed(offers, [f"http://127.0.0.1:{free_port()}", gateway.url])
        assert (summary.accepted, summary.gave_up) == (200, 0)
    with FakeGateway() as one, FakeGateway() as other:
        summary = await watch.feed(offers, [one.url, other.url])
        assert summary.accepted == len(one.raws) + len(other.raws) == 200
        assert len(one.requests) > 0 < len(other.requests)


async def test_a_gateway_that_does_not_answer_is_waited_for_only_so_long(watch: Watch) -> None:
    """An answer that does not come in time is no proof: the events go to the other gateway."""
    frozen = socket.create_server(("127.0.0.1", 0))
    options = replace(QUICK, answer_seconds=0.2)
    with frozen, FakeGateway() as gateway:
        urls = [f"http://127.0.0.1:{frozen.getsockname()[1]}", gateway.url]
        async with asyncio.timeout(20):
            summary = await watch.feed([event(n) for n in range(40)], urls, options)
    assert (summary.accepted, summary.gave_up) == (40, 0)
    assert summary.retries > 0


async def test_an_unknown_stage_is_rejected_and_the_others_go_on(watch: Watch) -> None:
    """404 with a problem document is about the stage, not about the gateway."""
    unknown = Reply(404, {"detail": "no such stage", "status": 404}, PROBLEM)
    with FakeGateway(lambda request: unknown if request.stage == "elsewhere" else None) as gateway:
        summary = await watch.feed([event(1, stage="elsewhere"), event(2)], gateway.url)
    assert (summary.accepted, summary.rejected) == (1, 1)


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404])
async def test_something_that_is_no_gateway_ends_the_feed(watch: Watch, status: int) -> None:
    """An answer no gateway gives proves nothing: events are given up, not accepted or rejected, and reading stops."""
    with FakeGateway(lambda request: Reply(status, {"hello": "world"})) as gateway:
        summary = await watch.feed((event(n) for n in itertools.count()), gateway.url)
    assert summary.accepted == summary.rejected == 0
    assert summary.gave_up == summary.offered > 0
    assert str(status) in (summary.stopped or "")
    assert "check the address" in (summary.stopped or "")


async def test_a_202_for_another_number_of_events_is_no_proof(watch: Watch) -> None:
    """Answers are believed only when they speak of each event sent."""
    short = Reply(202, {"items": [{"status": 202}]})
    with FakeGateway(lambda request: short) as gateway:
        summary = await watch.feed([event(n, invoice=1) for n in range(2)], gateway.url)
    assert (summary.accepted, summary.gave_up) == (0, 2)


async def test_a_gateway_that_is_away_is_waited_for(watch: Watch) -> None:
    """Connection refused: the progress says so, and all goes through once the gateway is up."""
    port = free_port()
    feeding = asyncio.create_task(watch.feed([event(n) for n in range(25)], f"http://127.0.0.1:{port}"))
    await eventually(lambda: any(p.waiting and "gateway away" in p.waiting for p in watch.progress))
    with FakeGateway(port=port) as gateway:
        summary = await feeding
    assert summary.accepted == 25
    assert Counter(gateway.raws) == {event(n).raw: 1 for n in range(25)}
    assert watch.progress[-1].waiting is None


async def test_giving_up_names_every_event_that_was_read_and_stops_reading(watch: Watch) -> None:
    """After the deadline what was read counts as given up, with the reason; an endless source is not drained,
    nor is more of it held than the options allow."""
    offers = (event(n) for n in itertools.count())
    summary = await watch.feed(offers, f"http://127.0.0.1:{free_port()}", IMPATIENT)
    assert summary.accepted == 0
    assert summary.gave_up == summary.offered == next(offers).tag
    assert "gave up after 0.1 s" in (summary.stopped or "")
    rounds_held = 3  # by each connection: one under way, one waiting, one being collected
    held = IMPATIENT.connections * rounds_held * IMPATIENT.batch_events
    assert summary.offered <= held + OFFERS_BETWEEN_TURNS  # the stop comes between two turns of the reader
    assert {refusal.tag for refusal in watch.refusals} == set(range(summary.offered))


async def test_progress_forgets_earlier_failures(watch: Watch) -> None:
    """The deadline counts from the first failure since something was settled, not from the start."""
    patience = Patience(FeedOptions(give_up_after_seconds=10, backoff_seconds=1, longest_backoff_seconds=4))
    waits = [patience.next_wait_seconds(now, None) for now in (0.0, 1.0, 2.0, 3.0, 9.0)]
    assert [
        low <= (wait or 0) <= high for wait, low, high in zip(waits, (0.5, 1, 2, 2, 1), (1, 2, 4, 4, 1), strict=True)
    ]
    assert all(wait is not None for wait in waits)
    assert patience.next_wait_seconds(10.0, None) is None
    patience.reset()
    assert 0.5 <= (patience.next_wait_seconds(11.0, None) or 0) <= 1


def test_a_gateway_that_names_a_time_is_given_that_time() -> None:
    """Retry-After is kept, never cut short by our own backoff, save by the deadline."""
    patience = Patience(FeedOptions(give_up_after_seconds=60, backoff_seconds=0.1))
    assert 30 <= (patience.next_wait_seconds(0.0, 30.0) or 0) <= 45
    assert patience.next_wait_seconds(50.0, 30.0) == 10


def test_retry_after_may_be_seconds_or_a_date() -> None:
    """Both forms of RFC 9110; anything else is as if it were absent."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    asked = [
        interpret(httpx.Response(503, headers={"retry-after": value}), 1, "#/{}") for value in ("7", soon, "later")
    ]
    assert isinstance(asked[0], ComeBack)
    assert isinstance(asked[1], ComeBack)
    assert asked[0].after_seconds == 7
    assert 80 < (asked[1].after_seconds or 0) <= 90
    assert asked[2] == ComeBack("gateway says 503: Service Unavailable", None, 503)


def test_a_web_page_with_status_202_is_no_gateway() -> None:
    """Only a body that can be read as an answer counts."""
    response = httpx.Response(202, html="<p>hello</p>", request=httpx.Request("POST", "http://127.0.0.1/"))
    assert isinstance(interpret(response, 1, "#/{}"), NotAGateway)


async def test_what_the_source_could_not_make_sendable_is_counted_as_rejected(watch: Watch) -> None:
    """A source may hand over refusals of its own; they end in the same books."""
    unusable = Refusal("", b"nonsense", 2, Outcome.REJECTED, (Problem("", "not JSON"),))
    with FakeGateway() as gateway:
        summary = await watch.feed([event(1), unusable], gateway.url)
    assert (summary.accepted, summary.rejected) == (1, 1)
    assert summary.stages["(none)"] == StageCounts(rejected=1)
    assert gateway.raws == [event(1).raw]


async def test_a_source_that_breaks_off_still_gets_its_events_sent(watch: Watch) -> None:
    """SourceError: everything before it is settled, and the summary says why it is not everything."""

    def source() -> Iterator[Offer]:
        yield from (event(n) for n in range(15))
        raise SourceError("the disk is gone")

    with FakeGateway() as gateway:
        summary = await watch.feed(source(), gateway.url)
    assert (summary.accepted, summary.stopped) == (15, "the disk is gone")


async def test_a_slow_source_does_not_hold_events_back(watch: Watch) -> None:
    """An incomplete batch is sent after the linger time, while the source still waits."""
    more = asyncio.Event()

    async def source() -> AsyncIterator[Offer]:
        yield event(1)
        await more.wait()
        yield event(2)

    with FakeGateway() as gateway:
        feeding = asyncio.create_task(watch.feed(source(), gateway.url))
        await eventually(lambda: gateway.raws == [event(1).raw])
        more.set()
        assert (await feeding).accepted == 2


async def test_a_stop_settles_what_was_read(watch: Watch) -> None:
    """Asked to stop, it reads no more, finishes what it has, and says that it stopped."""
    stop = asyncio.Event()
    with FakeGateway() as gateway:
        feeding = asyncio.create_task(watch.feed((event(n) for n in itertools.count()), gateway.url, stop=stop))
        await eventually(lambda: len(gateway.requests) > 3)
        stop.set()
        summary = await feeding
        assert sorted(gateway.raws) == sorted(event(n).raw for n in range(summary.offered))
    assert summary.accepted == summary.offered
    assert summary.stopped == "stopped on request"


async def test_a_stop_does_not_wait_for_a_gateway_that_is_away(watch: Watch) -> None:
    """Stopping ends the retries: what has no answer is given up at once."""
    stop = asyncio.Event()
    url = f"http://127.0.0.1:{free_port()}"
    patient = FeedOptions(backoff_seconds=60, longest_backoff_seconds=60, linger_seconds=0.01)
    feeding = asyncio.create_task(watch.feed([event(n) for n in range(30)], url, patient, stop))
    await eventually(lambda: any(progress.waiting for progress in watch.progress))
    stop.set()
    async with asyncio.timeout(20):
        summary = await feeding
    assert (summary.gave_up, summary.stopped) == (30, "stopped on request")


async def test_cancelling_ends_the_feed_at_once(watch: Watch) -> None:
    """A caller that cancels gets its CancelledError, not a hanging task."""
    feeding = asyncio.create_task(watch.feed([event(1)], f"http://127.0.0.1:{free_port()}"))
    await eventually(lambda: bool(watch.progress))
    feeding.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await feeding


async def test_a_defect_of_the_source_comes_out(watch: Watch) -> None:
    """Only SourceError is expected; anything else ends the feed loudly."""

    def source() -> Iterator[Offer]:
        yield event(1)
        raise RuntimeError("defect")

    with FakeGateway() as gateway, pytest.raises(ExceptionGroup) as raised:
        await watch.feed(source(), gateway.url)
    assert raised.group_contains(RuntimeError, match="defect")


async def test_receipts_tell_how_far_each_partition_was_filled(watch: Watch) -> None:
    """The highest offset per partition, so that a reader can wait for exactly that."""
    with FakeGateway() as gateway:
        summary = await watch.feed([event(n, invoice=1) for n in range(4)], gateway.url)
    assert summary.highest_offsets == {"invoices.ingestion/3": 13}


async def test_made_up_stage_names_do_not_fill_the_memory(watch: Watch) -> None:
    """Beyond a few dozen, stages are counted together."""
    offers: Sequence[Offer] = [event(n, stage=f"s{n}") for n in range(60)]
    with FakeGateway() as gateway:
        summary = await watch.feed(offers, gateway.url)
    assert len(summary.stages) == 33
    assert summary.stages["(other)"] == StageCounts(accepted=28)


def test_a_batch_larger_than_the_gateway_takes_is_refused_as_an_option() -> None:
    """Wrong options are told at once."""
    with pytest.raises(ValueError, match="1 to 1000"):
        FeedOptions(batch_events=1001)
