"""The producer between event loops and librdkafka, with a client in memory instead of librdkafka."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException

from bems_streams.adapters.kafka_producer import KafkaProducer, ProducerConfig
from bems_streams.ports import Appended, Coordinates, NotAppended, OutRecord, PublishFailedError

CONFIG = ProducerConfig("broker:9092", "test")
TIMEOUT = KafkaError(KafkaError._MSG_TIMED_OUT)
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
FATAL = KafkaError(KafkaError._FATAL, "epoch gone", True)


class FakeClient:
    """Delivers what is produced to whoever polls, as librdkafka does; after `hold`, only after `release`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.held: list[dict[str, Any]] = []
        self.refusals: dict[bytes, Exception] = {}
        self.failures: dict[bytes, KafkaError] = {}
        self.vouched_for: dict[bytes, tuple[int, int]] = {}  # value to offset and timestamp type
        self._change = threading.Condition()
        self._holding = False
        self.topics: dict[str, Any] = {}
        self.away: KafkaError | None = None
        self.offset = 0
        self.polled_by: list[int] = []  # threads
        self.told_by: list[int] = []
        self.breaks_once: Exception | None = None

    def produce(self, *arguments: Any) -> None:
        names = ("topic", "value", "key", "partition", "on_delivery", "alias", "timestamp_ms", "headers")
        record = dict(zip(names, arguments, strict=True))
        if record["value"] in self.refusals:
            raise self.refusals[record["value"]]
        with self._change:
            self.held.append(record)
            self._change.notify_all()

    def __len__(self) -> int:
        return len(self.held)

    def hold(self) -> None:
        with self._change:
            self._holding = True

    def release(self) -> None:
        with self._change:
            self._holding = False
            self._change.notify_all()

    def poll(self, timeout: float) -> int:
        told = 0
        self.polled_by.append(threading.get_ident())
        if self.breaks_once is not None:
            failure, self.breaks_once = self.breaks_once, None
            raise failure
        with self._change:
            self._change.wait_for(lambda: self.held and not self._holding, timeout)
            while self.held and not self._holding:
                self._tell(self.held.pop(0), None)
                told += 1
        return told

    def flush(self, timeout: float) -> int:
        if self.held:
            self.poll(timeout)
        return len(self.held)

    def purge(self) -> None:
        with self._change:
            while self.held:
                self._tell(self.held.pop(0), KafkaError(KafkaError._PURGE_QUEUE))

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        if self.away is not None:
            raise KafkaException(self.away)
        return SimpleNamespace(topics=self.topics)

    def _tell(self, record: Mapping[str, Any], error: KafkaError | None) -> None:
        value = record["value"]
        self.told_by.append(threading.get_ident())
        self.offset += 1
        offset, kind = self.vouched_for.get(value, (self.offset, TIMESTAMP_LOG_APPEND_TIME))
        message: Any = SimpleNamespace(offset=lambda: offset, partition=lambda: 3, timestamp=lambda: (kind, 1_700))
        record["on_delivery"](error or self.failures.get(value), message)


class Clients(list[FakeClient]):
    """Every client that was made, oldest first."""

    def make(self, config: Mapping[str, Any]) -> FakeClient:
        self.append(FakeClient(config))
        return self[-1]


@asynccontextmanager
async def a_producer(clients: Clients) -> AsyncIterator[KafkaProducer]:
    """A producer over fake clients, closed at the end."""
    producer = KafkaProducer(CONFIG, clients.make)
    try:
        yield producer
    finally:
        await producer.close(0.01)


def record(value: bytes, partition: int | None = None) -> OutRecord:
    """A record for topic t."""
    return OutRecord("t", b"k", value, (("h", b"1"),), partition)


async def test_every_record_gets_its_own_proof_in_order() -> None:
    """Coordinates from the delivery report; the broker's milliseconds become microseconds."""
    clients = Clients()
    async with a_producer(clients) as producer:
        outcomes = await producer.append([record(b"a"), record(b"b")])

    assert outcomes == [
        Appended(Coordinates("t", 3, 1), 1_700_000),
        Appended(Coordinates("t", 3, 2), 1_700_000),
    ]


async def test_nothing_to_append_is_done_at_once() -> None:
    """An empty call does not wait for ever."""
    async with a_producer(Clients()) as producer:
        assert await producer.append([]) == []


async def test_durability_is_asked_for_and_keys_go_where_java_clients_put_them() -> None:
    """The settings that zero loss rests on."""
    settings = CONFIG.librdkafka()

    assert (settings["acks"], settings["enable.idempotence"], settings["partitioner"]) == (
        "all",
        True,
        "murmur2_random",
    )
    assert settings["delivery.timeout.ms"] == 10_000


async def test_the_partition_is_the_partitioners_unless_named() -> None:
    """-1 asks librdkafka's partitioner."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].hold()
        waiting = asyncio.create_task(producer.append([record(b"a"), record(b"b", partition=7)]))
        await until(lambda: len(clients[0].held) == 2)
        partitions = [held["partition"] for held in clients[0].held]
        clients[0].release()
        await waiting

    assert partitions == [-1, 7]


async def test_nothing_is_told_before_the_last_delivery_report() -> None:
    """A call waits for all of its records."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].hold()
        waiting = asyncio.create_task(producer.append([record(b"a")]))
        await until(lambda: len(clients[0].held) == 1)
        assert not waiting.done()
        clients[0].release()

        assert isinstance((await waiting)[0], Appended)


@pytest.mark.parametrize(
    ("refusal", "retriable", "words"),
    [
        (BufferError(), True, "not written: the queue"),
        (KafkaException(TOO_LARGE), False, "not written: MSG_SIZE_TOO_LARGE"),
    ],
)
async def test_what_cannot_be_queued_fails_alone(refusal: Exception, retriable: bool, words: str) -> None:
    """Its neighbours are appended; the reason says that it was certainly not written."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].refusals[b"b"] = refusal

        first, second, third = await producer.append([record(b"a"), record(b"b"), record(b"c")])

    assert isinstance(first, Appended)
    assert isinstance(second, NotAppended)
    assert (second.retriable, second.reason[: len(words)]) == (retriable, words)
    assert isinstance(third, Appended)


async def test_a_failed_delivery_may_have_been_written() -> None:
    """A timeout is not a no: the reason must not claim that nothing was written."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].failures = {b"b": TIMEOUT, b"c": TOO_LARGE}

        first, second, third = await producer.append([record(b"a"), record(b"b"), record(b"c")])

    assert isinstance(first, Appended)
    assert isinstance(second, NotAppended)
    assert isinstance(third, NotAppended)
    assert second.reason.startswith("may or may not be written: _MSG_TIMED_OUT")
    assert (second.retriable, third.retriable) == (True, False)


@pytest.mark.parametrize(
    "report",
    [(-1001, TIMESTAMP_CREATE_TIME), (-1, TIMESTAMP_LOG_APPEND_TIME), (0, TIMESTAMP_CREATE_TIME)],
    ids=["vouched for by a later record", "no offset", "counted up from no offset"],
)
async def test_success_without_the_brokers_word_is_no_proof(report: tuple[int, int]) -> None:
    """librdkafka told success for a record that a new partition had refused; it was never written."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].vouched_for[b"a"] = report

        lost, kept = await producer.append([record(b"a"), record(b"b")])

    assert isinstance(lost, NotAppended)
    assert lost.reason.startswith("may or may not be written")
    assert lost.retriable
    assert isinstance(kept, Appended)


async def test_publishing_is_all_or_an_error_that_says_whether_to_retry() -> None:
    """PublishFailedError counts what has no proof."""
    clients = Clients()
    async with a_producer(clients) as producer:
        assert len(await producer.publish([record(b"a")])) == 1
        clients[0].failures = {b"b": TIMEOUT}

        with pytest.raises(PublishFailedError, match=r"1 of 2 records .* _MSG_TIMED_OUT") as failure:
            await producer.publish([record(b"a"), record(b"b")])

    assert failure.value.retriable


async def test_a_caller_that_gave_up_does_not_disturb_the_others() -> None:
    """Its late delivery report finds nobody, and that is fine."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].hold()
        given_up = asyncio.create_task(producer.append([record(b"a")]))
        patient = asyncio.create_task(producer.append([record(b"b")]))
        await until(lambda: len(clients[0].held) == 2)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        clients[0].release()

        assert isinstance((await patient)[0], Appended)
    assert complaints == []


async def test_a_fatal_error_replaces_the_client() -> None:
    """What the old one held has no proof, the next call goes to a new one."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].hold()
        waiting = asyncio.create_task(producer.append([record(b"a")]))
        await until(lambda: len(clients[0].held) == 1)

        clients[0].config["error_cb"](FATAL)
        (lost,) = await waiting
        await until(lambda: len(clients) == 2)
        (kept,) = await producer.append([record(b"b")])

    assert isinstance(lost, NotAppended)
    assert isinstance(kept, Appended)


async def test_a_fatal_refusal_replaces_the_client_too() -> None:
    """librdkafka may say it first when something is produced."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].refusals[b"a"] = KafkaException(FATAL)
        (refused,) = await producer.append([record(b"a")])
        await until(lambda: len(clients) == 2)

        assert isinstance(refused, NotAppended)
        assert refused.retriable
        assert isinstance((await producer.append([record(b"a")]))[0], Appended)


async def test_closing_gives_up_what_is_not_delivered_and_says_how_much() -> None:
    """Nobody is left waiting; what comes later is refused."""
    clients = Clients()
    producer = KafkaProducer(CONFIG, clients.make)
    clients[0].hold()
    waiting = asyncio.create_task(producer.append([record(b"a"), record(b"b")]))
    await until(lambda: len(clients[0].held) == 2)

    given_up = await producer.close(0.01)

    assert given_up == 2
    assert all(isinstance(outcome, NotAppended) for outcome in await waiting)
    (late,) = await producer.append([record(b"c")])
    assert isinstance(late, NotAppended)
    assert late.reason.startswith("not written")


async def test_reachability_is_read_from_metadata() -> None:
    """Away: which address, why. There: which topics are missing and how to create them. Else None."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].away = KafkaError(KafkaError._TRANSPORT)
        away = producer.unreachable(["t", "u"], 1)
        clients[0].away = None
        clients[0].topics = {"t": SimpleNamespace(error=None), "u": SimpleNamespace(error=TOO_LARGE)}
        missing = producer.unreachable(["t", "u", "v"], 1)

        assert away is not None
        assert "broker:9092" in away
        assert missing == "topics missing: u, v; create them with `bems topics apply`"
        assert producer.unreachable(["t"], 1) is None


async def test_the_event_loop_that_waits_serves_its_reports_itself() -> None:
    """A thread that did it would fight with the loop for the interpreter over each record."""
    clients = Clients()
    async with a_producer(clients) as producer:
        await producer.append([record(b"a"), record(b"b")])
        await producer.append([record(b"c")])

    assert clients[0].told_by == [threading.get_ident()] * 3


async def test_an_event_loop_with_nothing_under_way_is_left_alone() -> None:
    """It is asked once more at most; a thread goes on looking, now and then, for errors that nobody waits for."""
    clients = Clients()
    here = threading.get_ident()
    async with a_producer(clients) as producer:
        await producer.append([record(b"a")])
        asked = clients[0].polled_by.count(here)
        others = len(clients[0].polled_by) - asked
        await until(lambda: len(clients[0].polled_by) - clients[0].polled_by.count(here) > others + 1)

        assert clients[0].polled_by.count(here) <= asked + 1


async def test_a_fatal_error_that_a_poll_raises_replaces_the_client() -> None:
    """librdkafka's Python client raises it there instead of telling error_cb."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].breaks_once = KafkaException(FATAL)
        await until(lambda: len(clients) == 2)

        assert isinstance((await producer.append([record(b"a")]))[0], Appended)


async def test_a_callback_that_fails_does_not_end_the_service() -> None:
    """Others wait for their reports."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].breaks_once = ZeroDivisionError("defect")

        assert isinstance((await producer.append([record(b"a")]))[0], Appended)


async def test_two_event_loops_may_share_a_producer() -> None:
    """Each is woken in its own thread, whichever of them served the report."""
    clients = Clients()
    async with a_producer(clients) as producer:
        clients[0].hold()
        here = asyncio.create_task(producer.append([record(b"a")]))
        await until(lambda: len(clients[0].held) == 1)
        there = asyncio.create_task(asyncio.to_thread(asyncio.run, append(producer, b"b")))
        await until(lambda: len(clients[0].held) == 2)
        clients[0].release()
        async with asyncio.timeout(5):
            outcomes = [*await here, *await there]

    assert [type(outcome) for outcome in outcomes] == [Appended, Appended]


def test_a_producer_outlives_an_event_loop() -> None:
    """One that ended with records under way does not keep the next from its reports."""
    clients = Clients()
    producer = KafkaProducer(CONFIG, clients.make)
    clients[0].hold()

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(producer.append([record(b"a")]), 0.01)

    asyncio.run(give_up())
    clients[0].release()
    (outcome,) = asyncio.run(append(producer, b"b"))
    asyncio.run(producer.close(1))

    assert isinstance(outcome, Appended)
    assert threading.get_ident() in clients[0].told_by


async def append(producer: KafkaProducer, value: bytes) -> Sequence[Appended | NotAppended]:
    """One record; TimeoutError when nothing is heard of it."""
    async with asyncio.timeout(5):
        return await producer.append([record(value)])


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Poll with a deadline, because the other side is a thread."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a thread cannot set an asyncio event
            await asyncio.sleep(0.001)
