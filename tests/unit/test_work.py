"""What agents loop over: taken together, acked together or not at all."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from bems_streams.ports import RawRecord
from bems_streams.runtime.failfast import EXIT_FAILED
from bems_streams.runtime.work import PartitionsMovedError, Work, coalesced
from tests.unit.flow_kit import raw
from tests.unit.work_kit import App, Stream


class Running:
    """One loop over a stream."""

    def __init__(self, max_records: int = 10, pace_seconds: float = 0.0) -> None:
        self.app = App()
        self.stream = Stream(self.app.consumer)
        self.loop: AsyncGenerator[Work, None] = coalesced(self.app, self.stream, max_records, pace_seconds)

    def put(self, first: int, count: int = 1, epoch: int | None = None) -> None:
        """A batch of records at these offsets arrives."""
        self.stream.put(records(first, count), epoch)

    async def next(self) -> Work:
        """What the agent gets next."""
        return await asyncio.wait_for(anext(self.loop), 5.0)

    @property
    def acked(self) -> list[int]:
        """Offsets of all records acked."""
        return [record.at.offset for batch in self.app.consumer.acked for record in batch.records]

    @property
    def abandoned(self) -> list[int]:
        """Offsets of all records given up without an ack."""
        return [record.at.offset for batch in self.app.consumer.abandoned for record in batch.records]


def records(first: int, count: int = 1) -> list[RawRecord]:
    """Consecutive records."""
    return [raw(b"", offset) for offset in range(first, first + count)]


def offsets(work: Work) -> list[int]:
    """Of all its records."""
    return [record.at.offset for record in work.records]


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_all_that_waits_is_taken_together() -> None:
    """Batches that gathered while the agent was busy become one piece of work, in order."""
    running = Running()
    running.put(0)
    first = await running.next()
    running.put(1, 2)
    running.put(3)
    await settle()

    second = await running.next()

    assert (offsets(first), offsets(second)) == ([0], [1, 2, 3])
    await running.loop.aclose()


async def test_what_was_fetched_together_becomes_one_piece() -> None:
    """While batches of one fetch are still coming, the first of them does not go into a transaction of its own."""
    running = Running()
    running.app.consumer.handed_over.clear()
    running.put(0)
    piece = asyncio.ensure_future(running.next())
    await settle()
    assert not piece.done()

    running.put(1, 2)
    await settle()
    running.app.consumer.handed_over.set()

    assert offsets(await piece) == [0, 1, 2]
    await running.loop.aclose()


async def test_one_piece_has_at_most_about_as_many_records_as_asked_for() -> None:
    """Batches are not split: the one that reaches the limit is the last."""
    running = Running(max_records=4)
    for first in (0, 3, 6, 9):
        running.put(first, 3)
    await settle()

    async with aclosing(running.loop) as loop:
        taken = [offsets(await anext(loop)) for _ in range(2)]

    assert taken == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]


async def test_a_pace_gathers_more() -> None:
    """At mid load a short wait makes one transaction of what would have been several; after a rest there is none."""
    running = Running(pace_seconds=0.02)
    running.put(0)
    assert offsets(await running.next()) == [0]
    running.put(1)
    waiting = asyncio.ensure_future(running.next())
    await settle()
    running.put(2)

    assert offsets(await waiting) == [1, 2]
    await running.loop.aclose()


async def test_the_first_piece_and_a_full_one_do_not_wait_for_the_pace() -> None:
    """Neither the latency of a quiet cell nor a backlog suffers from it."""
    running = Running(max_records=4, pace_seconds=3600)
    running.put(0)
    assert offsets(await running.next()) == [0]
    running.put(1, 3)
    running.put(4)
    await settle()

    assert offsets(await running.next()) == [1, 2, 3, 4]
    running.put(5)
    waiting = asyncio.ensure_future(anext(running.loop))
    await settle()
    assert not waiting.done()
    waiting.cancel()


async def test_batches_of_an_earlier_assignment_are_given_up_without_an_ack() -> None:
    """They wait in the queue when partitions move; their next owner reads them again."""
    running = Running()
    running.put(0, epoch=1)
    running.put(1, epoch=1)
    await settle()
    running.app.consumer.epoch = 2
    running.put(0, epoch=2)
    await settle()

    work = await running.next()

    assert (work.epoch, offsets(work)) == (2, [0])
    assert (running.abandoned, running.acked) == ([0, 1], [])
    await running.loop.aclose()


async def test_old_batches_alone_are_no_work() -> None:
    """The loop goes on waiting for new ones."""
    running = Running()
    waiting = asyncio.ensure_future(running.next())
    await settle()
    running.put(0, epoch=0)
    await settle()
    assert (running.abandoned, waiting.done()) == ([0], False)

    running.put(5)

    assert offsets(await waiting) == [5]
    await running.loop.aclose()


async def test_an_ack_comes_only_when_the_block_was_left_cleanly() -> None:
    """Not when the work is taken, not while it is done."""
    running = Running()
    running.put(0)
    running.put(1)
    await settle()

    work = await running.next()
    async with work:
        await settle()
        during = list(running.acked)

    assert (during, running.acked) == ([], [0, 1])
    assert running.app.consumer.pipeline.committable() == {("invoices.ingestion", 0): 2}
    await running.loop.aclose()


async def test_taking_the_next_work_does_not_ack_the_last() -> None:
    """A loop that forgets its block acks nothing."""
    running = Running()
    running.put(0)
    await running.next()
    running.put(1)
    await running.next()

    assert running.acked == []
    await running.loop.aclose()


async def test_moved_partitions_are_no_failure() -> None:
    """The work is given up without an ack, and the loop goes on."""
    running = Running()
    running.put(0, 2)
    async with await running.next():
        raise PartitionsMovedError
    running.put(2)
    work = await running.next()

    assert (running.abandoned, running.acked) == ([0, 1], [])
    assert offsets(work) == [2]
    await running.loop.aclose()


async def test_cancelled_work_is_not_acked() -> None:
    """A stop in the middle leaves the records to be read again."""
    running = Running()
    running.put(0)

    async def agent() -> None:
        async for work in running.loop:
            async with work:
                await asyncio.sleep(3600)

    task = asyncio.ensure_future(agent())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (running.acked, running.abandoned) == ([], [])


async def test_closing_the_loop_stops_reading() -> None:
    """No task is left behind that would take batches nobody handles."""
    running = Running()
    running.put(0)
    await running.next()
    before = asyncio.all_tasks()

    await running.loop.aclose()
    await settle()
    running.put(1)
    await settle()

    assert len(before - asyncio.all_tasks()) == 1
    assert running.stream._queue.qsize() == 1


async def test_a_stream_that_ends_with_the_application_is_no_failure() -> None:
    """An orderly stop ends the stream; the process goes on to its end."""
    running = Running()
    waiting = asyncio.ensure_future(running.next())
    running.app.should_stop = True

    running.stream.end()
    await settle()

    assert not waiting.done()
    waiting.cancel()


# ----------------------------------------------------------------------------------- the ways that end the process

PROGRAM = """
import asyncio, sys
from tests.unit.test_work import Running, settle

async def main():
    running = Running()
    running.put(3, 2)
    ack = running.app.consumer.ack
    running.app.consumer.ack = lambda message: (print("acked", flush=True), ack(message))
    async for work in running.loop:
        async with work:
            {body}
    print("went on", flush=True)

try:
    asyncio.run(main())
finally:
    print("cleaned up", flush=True)
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    """A process of its own whose agent does this with its work."""
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise SystemExit(0)", "SystemExit"),
        (
            "running.stream.end(OSError('broken')); await asyncio.sleep(60)",
            "reading the stream failed: OSError: broken",
        ),
        ("running.stream.end(); await asyncio.sleep(60)", "the stream of batches ended by itself"),
    ],
)
def test_any_other_error_ends_the_process_before_an_ack(body: str, named: str) -> None:
    """Exit code 70, the reason on stderr, and no cleanup that could acknowledge anything."""
    ended = run(body)

    assert ended.returncode == EXIT_FAILED == 70
    assert ended.stdout == ""
    assert named in ended.stderr


def test_the_process_above_acks_when_nothing_is_wrong() -> None:
    """The check can fail: the same program without an error acks."""
    ended = run("running.app.should_stop = True; asyncio.get_running_loop().call_later(0.1, sys.exit, 7)")

    assert (ended.returncode, ended.stdout.splitlines()[0]) == (7, "acked")
