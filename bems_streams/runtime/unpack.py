"""Records out of fetched bytes: what aiokafka does record by record, done batch by batch, straight into RawRecord.

Its own way makes two more objects for each record and passes two generators: 2.5 µs a record instead of 1.2.
Not here: fetching the bytes (aiokafka), when to ask for them (fetch.py).
"""

import asyncio
import time
from collections.abc import Collection
from typing import Any, Final

from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult
from aiokafka.errors import CorruptRecordException
from aiokafka.structs import TopicPartition

from bems_streams.ports import Coordinates, RawRecord

TAKE_RECORDS: Final = 64_000
"""As many as a tracker handles at once."""

_LOG_APPEND_TIME: Final = 1
_NO_HEADERS: Final = ()


async def fetched(fetcher: Fetcher, places: Collection[Any], timeout_seconds: float) -> dict[Any, list[RawRecord]]:
    """As `Fetcher.fetched_records`: what has arrived of these partitions, or, within the timeout, arrives.

    What arrived first comes first. A fetch result is taken whole, and no further one from TAKE_RECORDS on: the rest
    stays as it came, compressed, which is what bounds memory when there are many partitions.
    """
    while True:
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        began = time.monotonic()
        found = _arrived(fetcher, places)
        if found or not timeout_seconds:
            return found
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=timeout_seconds)
        if not done or fetcher._closed:
            waiter.cancel()
            return {}
        waiter.result()  # raises what concerns all partitions: no authorisation, for example
        timeout_seconds = max(0.0, timeout_seconds - (time.monotonic() - began))


def _arrived(fetcher: Fetcher, places: Collection[Any]) -> dict[Any, list[RawRecord]]:
    found: dict[Any, list[RawRecord]] = {}
    taken = 0
    for tp in list(fetcher._records):
        if taken >= TAKE_RECORDS:
            break
        if places and tp not in places:
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
            continue
        result = fetcher._records[tp]
        if type(result) is not FetchResult:
            if not found:  # an error, told once what arrived of others is delivered
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)
                result.check_raise()
            return found
        del fetcher._records[tp]  # first: if it cannot be unpacked, the same is fetched again
        fetcher._notify(fetcher._wait_consume_future)
        if records := _taken(result):
            found[tp] = records
            taken += len(records)
    return found


def _taken(result: FetchResult) -> list[RawRecord]:
    """As `FetchResult.getall`."""
    # Its iterator, which is not used here, refers back to it: both, and all the bytes fetched, would stay in memory.
    source = result._partition_records
    if source is not None:
        source._records_iterator = None
    if not result.check_assignment(result._topic_partition) or not result.has_more():
        return []
    records = unpack(source)
    result._update_position()
    result._partition_records = None
    return records


def unpack(source: Any) -> list[RawRecord]:
    """All records of aiokafka's PartitionRecords, which must not have been iterated over; moves its next offset.

    As `PartitionRecords._unpack_records`: left out are what was fetched with others of its batch and lies before the
    position, what aborted transactions wrote, and the markers of transactions. CorruptRecordException.
    """
    tp, batches = source._tp, source._records
    records: list[RawRecord] = []
    while batches.has_next():
        batch = batches.next_batch()
        if source._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {tp}")
        if not _is_aborted(source, batch) and not batch.is_control_batch:
            records += _records(tp, batch, source.next_fetch_offset)
        source.next_fetch_offset = batch.next_offset
    return records


def _is_aborted(source: Any, batch: Any) -> bool:
    if source._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    source._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch and source._contains_abort_marker(batch):
        source._aborted_producers.discard(batch.producer_id)
    return batch.is_transactional and batch.producer_id in source._aborted_producers


def _records(tp: TopicPartition, batch: Any, first: int) -> list[RawRecord]:
    """Those at or after `first`, in the order of the batch."""
    found = list(batch)
    if found and found[0].offset < first:
        found = [record for record in found if record.offset >= first]
    topic, partition = tp
    appended_us = batch.max_timestamp * 1000 if batch.timestamp_type == _LOG_APPEND_TIME else None
    # _new: the tuples' own constructor, 0.4 µs for both; the classes' costs 0.6 more
    return [
        _new(
            RawRecord,
            (
                _new(Coordinates, (topic, partition, record.offset)),
                record.key,
                record.value,
                tuple(headers) if (headers := record.headers) else _NO_HEADERS,
                record.timestamp * 1000 if appended_us is None else appended_us,
            ),
        )
        for record in found
    ]


_new: Final[Any] = tuple.__new__
