"""Records out of fetched bytes: exactly those that aiokafka's own way gives, and the same position after them."""

import gc
import weakref
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.ports import Coordinates, RawRecord
from bems_streams.runtime.unpack import TAKE_RECORDS, fetched, unpack

TP = TopicPartition("invoices.posting", 3)
ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"
CONTROL, LOG_APPEND = 0x20, 0x08
ATTRIBUTES, LAST_DELTA, MAX_TIMESTAMP, CRC = slice(21, 23), slice(23, 27), slice(35, 43), slice(17, 21)


class Written(NamedTuple):
    """A batch as the broker keeps it. producer -1: no idempotence. marker: None, ABORT or COMMIT."""

    producer: int
    transactional: bool
    records: Sequence[tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]]
    marker: bytes | None = None
    appended_ms: int | None = None
    compression: int = 0
    removed: int = 0  # offsets at its end that compaction took


def encode(batch: Written, base: int) -> bytes:
    """Its bytes, starting at the offset `base`."""
    builder = DefaultRecordBatchBuilder(
        2, batch.compression, batch.transactional or batch.marker is not None, batch.producer, 0, 0, 1 << 20
    )
    rows = batch.records if batch.marker is None else [(0, batch.marker, b"\0\0\0\0\0\0", [])]
    for delta, (timestamp, key, value, headers) in enumerate(rows):
        assert builder.append(delta, timestamp, key, value, headers) is not None
    raw = bytearray(builder.build())
    raw[0:8] = base.to_bytes(8, "big")
    attributes = int.from_bytes(raw[ATTRIBUTES], "big")
    attributes |= CONTROL if batch.marker is not None else 0
    if batch.appended_ms is not None:
        attributes |= LOG_APPEND
        raw[MAX_TIMESTAMP] = batch.appended_ms.to_bytes(8, "big")
    raw[ATTRIBUTES] = attributes.to_bytes(2, "big")
    raw[LAST_DELTA] = (len(rows) - 1 + batch.removed).to_bytes(4, "big")
    raw[CRC] = calc_crc32c(raw[21:]).to_bytes(4, "big")
    return bytes(raw)


def log_of(batches: Sequence[Written]) -> bytes:
    """One after the other."""
    raw, base = b"", 100
    for batch in batches:
        raw += encode(batch, base)
        base = DefaultRecordBatch(raw[-len(encode(batch, base)) :]).next_offset
    return raw


def source(
    raw: bytes, aborted: Sequence[tuple[int, int]] = (), first: int = 100, isolation: int = READ_COMMITTED
) -> Any:
    """What aiokafka makes of a fetch answer."""
    return PartitionRecords(TP, MemoryRecords(raw), list(aborted), first, None, None, True, isolation)


def theirs(records: Any) -> list[RawRecord]:
    """What aiokafka gives, as ours."""
    return [
        RawRecord(
            Coordinates(TP.topic, TP.partition, found.offset),
            found.key,
            found.value,
            found.headers,
            found.timestamp * 1000,
        )
        for found in records
    ]


content = st.tuples(
    st.integers(0, 2**40),
    st.none() | st.binary(max_size=8),
    st.none() | st.binary(max_size=40),
    st.lists(st.tuples(st.text(max_size=4), st.none() | st.binary(max_size=4)), max_size=2),
)
batches = st.lists(
    st.one_of(
        st.builds(
            Written,
            st.sampled_from([-1, 7, 8]),
            st.just(False),
            st.lists(content, min_size=1, max_size=4),
            st.none(),
            st.none() | st.integers(0, 2**40),
            st.sampled_from([0, 3]),  # none, lz4
            st.integers(0, 2),
        ),
        st.builds(
            Written,
            st.sampled_from([7, 8]),
            st.just(True),
            st.lists(content, min_size=1, max_size=4),
            st.sampled_from([None, None, ABORT, COMMIT]),
            st.none(),
            st.just(0),
            st.just(0),
        ),
    ),
    min_size=1,
    max_size=8,
)
aborted = st.lists(st.tuples(st.sampled_from([7, 8]), st.integers(98, 120)), max_size=3)


@given(batches, aborted, st.integers(95, 125), st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
def test_the_same_records_and_the_same_position_as_aiokafka(
    log: list[Written], aborted_from: list[tuple[int, int]], first: int, isolation: int
) -> None:
    """Transactions that committed and aborted, markers, compaction, compression, and a position within a batch."""
    raw = log_of(log)
    expected, made = (source(raw, aborted_from, first, isolation) for _ in range(2))

    records = theirs(expected)

    assert unpack(made) == records
    assert made.next_fetch_offset == expected.next_fetch_offset


def test_a_header_list_does_not_stay_shared_and_a_record_without_any_has_none() -> None:
    """Headers are a tuple, as everything else of a record cannot be changed."""
    raw = log_of([Written(-1, False, [(1, b"k", b"v", [("a", b"1"), ("b", None)]), (2, None, None, [])], None, 5)])

    first, second = unpack(source(raw))

    assert first == RawRecord(Coordinates(TP.topic, TP.partition, 100), b"k", b"v", (("a", b"1"), ("b", None)), 5000)
    assert second == RawRecord(Coordinates(TP.topic, TP.partition, 101), None, None, (), 5000)


def test_bytes_that_changed_on_the_way_are_never_taken_for_records() -> None:
    """The checksum is looked at before anything of the batch is used."""
    raw = bytearray(log_of([Written(-1, False, [(1, b"k", b"value", [])])]))
    raw[-3] ^= 1

    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        unpack(source(bytes(raw)))


class Assigned:
    """aiokafka's assignment and the state of its partitions, as far as fetch results ask."""

    active, paused, position = True, False, 100

    def state_value(self, _: object) -> "Assigned":
        """Of any partition."""
        return self

    def consumed_to(self, _: int) -> None:
        """Every partition has a log of its own, which begins at 100."""


class Arrived:
    """aiokafka's fetcher, of partitions from which a thousand records have arrived each."""

    def __init__(self, partitions: int) -> None:
        raw = log_of([Written(-1, False, [(5, b"k", b"v", [])] * 1000)])
        self._subscriptions = SimpleNamespace(reassignment_in_progress=False)
        self._wait_consume_future = None
        self._records = {
            number: FetchResult(TP, assignment=Assigned(), partition_records=source(raw), backoff=0)
            for number in range(partitions)
        }

    def _notify(self, _: object) -> None:
        """Nobody waits."""


async def test_what_was_fetched_goes_when_it_is_unpacked() -> None:
    """Without a garbage collector: a worker's runs rarely, and each fetch result is up to a megabyte."""
    fetcher: Any = Arrived(3)
    remembered = [weakref.ref(result._partition_records) for result in fetcher._records.values()]
    gc.disable()
    try:
        await fetched(fetcher, range(3), 0.0)
        kept = [each for each in remembered if each() is not None]
    finally:
        gc.enable()

    assert len(remembered) == 3
    assert kept == []


async def test_no_more_is_unpacked_at_once_than_is_handled_at_once() -> None:
    """What has arrived of a hundred partitions stays compressed until its turn; what came first comes first."""
    at_once = TAKE_RECORDS // 1000
    there = 2 * at_once + 4
    fetcher: Any = Arrived(there)

    first = await fetched(fetcher, range(there), 0.0)
    second = await fetched(fetcher, range(there), 0.0)
    third = await fetched(fetcher, range(there), 0.0)

    assert list(first) == list(range(at_once))
    assert list(second) == list(range(at_once, 2 * at_once))
    assert list(third) == list(range(2 * at_once, there))
    assert {len(records) for each in (first, second, third) for records in each.values()} == {1000}
    assert await fetched(fetcher, range(there), 0.0) == {}
