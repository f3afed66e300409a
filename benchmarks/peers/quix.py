"""Quix Streams with state: changelog topic on, a checkpoint every 5 s, at least once, all as it comes.

The four topics are concatenated, which is its way to let events of several topics meet in one state; the state is
stored as bytes, without its JSON. A status goes out for every event that changed something, as its operators do.
Run by tracker_peers.py in the environment of the peers. Not here: the work itself (invoices.py).
"""

from functools import reduce
from typing import Any, Final

from quixstreams import Application  # type: ignore[import-not-found]

from benchmarks.peers.invoices import Invoices
from benchmarks.peers.task import Marks, Task, read_task

STATE: Final = "invoice"


def main(task: Task) -> None:
    """Handle all, commit, end."""
    marks, invoices = Marks(task), Invoices(task)
    app = Application(
        task.bootstrap,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=task.folder,
        loglevel="WARNING",
    )

    def track(value: bytes, key: bytes, timestamp_ms: int, _headers: Any, state: Any) -> bytes | None:
        if not marks.events:
            marks.begin()
        invoice = invoices.change(state.get_bytes(STATE), value, timestamp_ms)
        if invoice is not None:
            state.set_bytes(STATE, invoices.stored(invoice))
        if marks.add():
            app.stop()
        return None if invoice is None or task.status_topic is None else invoices.status(key, invoice)

    topics = [app.topic(name, key_deserializer="bytes", value_deserializer="bytes") for name in task.topics]
    events = reduce(lambda one, other: one.concat(other), map(app.dataframe, topics))
    statuses = events.apply(track, stateful=True, metadata=True)
    if task.status_topic is not None:
        status_topic = app.topic(task.status_topic, key_serializer="bytes", value_serializer="bytes")
        statuses.filter(lambda document: document is not None).to_topic(status_topic)
    app.run()
    marks.write("durable")


if __name__ == "__main__":
    main(read_task())
