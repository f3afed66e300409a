"""A tracker that freezes itself at the worst moment: everything decided, nothing published. Run by test_fence.py.

Arguments: `fenced` or `unfenced`, a marker file it makes before it freezes, then those of `bems worker`.
`unfenced` takes the fence out: an idempotent producer without transaction or group generation.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import Message, Producer

from agents.worker import command
from bems_streams.ports import Offsets, OutRecord
from bems_streams.runtime import fence
from bems_streams.runtime.fence import KafkaFencedLog
from bems_streams.runtime.membership import Membership

_fenced_publish = KafkaFencedLog.publish


async def _unfenced_publish(
    log: KafkaFencedLog, records: Sequence[OutRecord], offsets: Offsets, membership: Membership
) -> Offsets:
    ends: dict[tuple[str, int], int] = {}

    def delivered(_: object, message: Message) -> None:
        ends[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0) + 1

    producer = Producer({"bootstrap.servers": os.environ["BEMS_BOOTSTRAP"], "enable.idempotence": True})
    for record in records:
        producer.produce(
            record.topic, key=record.key, value=record.value, partition=record.partition or 0, on_delivery=delivered
        )
    await asyncio.to_thread(producer.flush, 30.0)
    return ends


def freeze_once(marker: Path) -> None:
    """SIGSTOP to oneself: goes on from here when somebody sends SIGCONT."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGSTOP)


def main() -> None:
    """Patch, then run the worker as always."""
    mode, marker, *arguments = sys.argv[1:]
    publish = _unfenced_publish if mode == "unfenced" else _fenced_publish

    async def freeze_then_publish(
        log: KafkaFencedLog, records: Sequence[OutRecord], offsets: Offsets, membership: Membership
    ) -> Offsets:
        if records:
            freeze_once(Path(marker))
        return await publish(log, records, offsets, membership)

    fence.KafkaFencedLog.publish = freeze_then_publish  # type: ignore[method-assign, assignment]
    command(arguments)


if __name__ == "__main__":
    main()
