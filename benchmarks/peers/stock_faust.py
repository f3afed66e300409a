"""Stock Faust as its documentation shows it: one table write per event, RocksDB by rocksdict, at least once.

A status goes out for every event that changed something. Run by tracker_peers.py. Not here: the work (invoices.py).
"""

import asyncio
import os
from typing import Any, Final

import faust

from benchmarks.peers.invoices import Invoices
from benchmarks.peers.task import Marks, Task, read_task

LOOK_SECONDS: Final = 0.1


def build(task: Task) -> Any:
    """The application; it ends the process when all is committed."""
    app: Any = faust.App(
        task.group,
        broker=f"kafka://{task.bootstrap}",
        store="rocksdb://",
        datadir=task.folder,
        topic_partitions=task.partitions,
        topic_replication_factor=1,
        topic_disable_leader=True,  # a topic for a leader that nothing here needs
        web_enabled=False,
        processing_guarantee="at_least_once",
    )
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    events = app.topic(*task.topics, **raw)
    statuses = None if task.status_topic is None else app.topic(task.status_topic, **raw)
    table = app.Table(
        "invoices", key_type=bytes, value_type=bytes, partitions=task.partitions, options={"driver": "rocksdict"}
    )
    marks, invoices, done = Marks(task), Invoices(task), asyncio.Event()

    @app.agent(events)  # type: ignore[untyped-decorator]
    async def track(stream: Any) -> None:
        async for event in stream.events():
            if not marks.events:
                marks.begin()
            key = event.key
            invoice = invoices.change(table.get(key), event.value, int(event.message.timestamp * 1000))
            if invoice is not None:
                table[key] = invoices.stored(invoice)
                if statuses is not None:
                    await statuses.send(key=key, value=invoices.status(key, invoice))
            if marks.add():
                done.set()

    @app.task  # type: ignore[untyped-decorator]
    async def end() -> None:
        await done.wait()
        await asyncio.sleep(LOOK_SECONDS)  # the last event is acknowledged once its turn of the loop is over
        await app.producer.flush()
        await app.consumer.commit()
        marks.write("durable")
        os._exit(0)  # an orderly stop of stock Faust takes long and tells nothing

    return app


def main(task: Task) -> None:
    """Run until all is committed."""
    app = build(task)
    faust.Worker(app, loglevel="WARNING", quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main(read_task())
