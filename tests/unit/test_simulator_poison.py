"""Bad records for the topics: bad in every way that counts, written once each, counted apart."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from bems_streams.domain.event import Event, parse_event
from bems_streams.local.simulator_poison import poison, write_poison
from bems_streams.ports import Appended, Coordinates, NotAppended, OutRecord

TOPICS = {"ingestion": "t.ingestion", "posting": "t.posting"}


class Log:
    """An Appender that refuses every third record."""

    def __init__(self) -> None:
        self.written: list[OutRecord] = []

    async def append(self, records: Sequence[OutRecord]) -> Sequence[Appended | NotAppended]:
        outcomes: list[Appended | NotAppended] = []
        for record in records:
            self.written.append(record)
            place = len(self.written)
            bad = place % 3 == 0
            outcomes.append(
                NotAppended("full", retriable=True) if bad else Appended(Coordinates(record.topic, 0, place), 0)
            )
        return outcomes


def test_no_record_could_be_taken_for_an_event_of_its_topic() -> None:
    """Undecodable, or an event under another key, or one of another stage."""
    stages = {topic: stage for stage, topic in TOPICS.items()}
    reasons: Counter[str] = Counter()
    for record in poison("run", 1, 90, TOPICS):
        event = parse_event(record.value or b"")
        if not isinstance(event, Event):
            reasons[event.code] += 1
        elif event.stage != stages[record.topic]:
            reasons["stage"] += 1
        else:
            assert record.key != event.invoice_id.encode()
            reasons["key"] += 1
    assert reasons == {"not_json": 40, "invalid_event": 20, "too_large": 10, "stage": 10, "key": 10}
    assert {record.topic for record in poison("run", 1, 90, TOPICS)} == set(TOPICS.values())


async def test_records_are_written_in_step_with_the_feed_and_each_once() -> None:
    """Half way through, half of them are there; what no broker confirmed is counted as failed, not tried again."""
    records = [*poison("run", 1, 30, TOPICS)]
    log, finished = Log(), asyncio.Event()
    writing = asyncio.create_task(write_poison(log, records, lambda: 0.5, finished))
    async with asyncio.timeout(10):
        while len(log.written) < 15:  # noqa: ASYNC110 - a fake has no event to wait for
            await asyncio.sleep(0.001)
    assert log.written == records[:15]
    finished.set()
    summary = await writing
    assert log.written == records
    assert (summary.written, summary.failed, summary.reason) == (20, 10, "full")
