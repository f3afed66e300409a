"""The product with one promise of its runtime taken out: `python -m tests.chaos.sabotage <what> <bems arguments>`.

A proof that passes on these proves nothing. Not here: what each must lead to (test_sabotage.py).
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bems_streams.ports import Offsets, OutRecord, Place
from bems_streams.runtime.batch import Batch, Pipeline
from bems_streams.runtime.fence import KafkaFencedLog, Proofs
from bems_streams.runtime.membership import Membership
from bems_streams.runtime.work import Work

LATER_SECONDS: Final = 1.5
"""Longer than the consumers' commit interval: a crash at any time then meets what was committed and is not done."""
BEYOND_ANY_LOG: Final = 1 << 40


def ack_before_the_write() -> None:
    """The sink's batches are committable as soon as work on them begins, and committed before it goes on."""

    async def enter(self: Work) -> Work:
        for event in self._events:
            self._consumer.ack(event.message)
        await asyncio.sleep(LATER_SECONDS)
        return self

    Work.__aenter__ = enter  # type: ignore[method-assign]


def commit_past_a_gap() -> None:
    """Whatever was delivered last is committable, and committed, with work in flight before it."""
    deliver = Pipeline.deliver

    async def enter(self: Work) -> Work:
        await asyncio.sleep(LATER_SECONDS)
        return self

    def deliver_and_done(self: Pipeline, batch: Batch) -> None:
        deliver(self, batch)
        self._done[batch.topic, batch.partition] = batch.next_offset

    Pipeline.deliver = deliver_and_done  # type: ignore[method-assign]
    Work.__aenter__ = enter  # type: ignore[method-assign]


def skip_the_changelog() -> None:
    """The tracker commits its offsets at once; states, status and accounts follow a little later, unawaited."""
    transaction = KafkaFencedLog._transaction
    newest: dict[Place, int] = {}
    turn = asyncio.Lock()
    background: set[asyncio.Task[None]] = set()

    async def offsets_first(
        self: KafkaFencedLog, records: Sequence[OutRecord], offsets: Offsets, membership: Membership
    ) -> Offsets:
        newest.update(offsets)

        async def later() -> None:
            await asyncio.sleep(LATER_SECONDS)
            async with turn:
                await transaction(self, records, newest, membership)

        async with turn:
            self._producer.begin_transaction()
            await asyncio.to_thread(self._finish, Proofs(0), offsets, membership)
        task = asyncio.ensure_future(later())
        background.add(task)
        task.add_done_callback(background.discard)
        return {(record.topic, record.partition or 0): BEYOND_ANY_LOG for record in records}

    KafkaFencedLog._transaction = offsets_first  # type: ignore[method-assign]


SABOTAGES: Final[Mapping[str, Callable[[], None]]] = {
    sabotage.__name__.replace("_", "-"): sabotage
    for sabotage in (ack_before_the_write, commit_past_a_gap, skip_the_changelog)
}


def main() -> None:
    """Break it, then run the command as it was given."""
    from bems_streams.cli.main import main as bems

    SABOTAGES[sys.argv[1]]()
    sys.argv[1:] = sys.argv[2:]
    bems()


if __name__ == "__main__":
    main()
