"""A Faust application that keeps every event: the settings that matter, and our transport in place of the stock one.

Not here: agents, or what is done with records.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faust
import uvloop

from bems_streams.runtime.assignor import ColumnAssignor
from bems_streams.runtime.failfast import ShutdownWatchdog, die, fail_fast
from bems_streams.runtime.holding import Holding, LaneRule
from bems_streams.runtime.transport import BatchSchema, BatchTransport, NoClearOnResume

logger = logging.getLogger(__name__)

MAX_FETCH_BYTES: Final = 1 << 20
COLLECT_AFTER_OBJECTS: Final = 500_000
MAX_PAUSE_SECONDS: Final = 7 * 86_400.0
"""A worker whose destination is away keeps its place in the group: giving it up would help nobody."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """One consumer group member. `instance`: a name that survives restarts, so that peers notice none of them."""

    group: str
    bootstrap: str
    data_dir: Path
    instance: str | None = None
    session_timeout_seconds: float = 10.0
    rebalance_timeout_seconds: float = 60.0
    request_timeout_seconds: float = 40.0
    stop_budget_seconds: float = 25.0

    def __post_init__(self) -> None:
        if self.instance == "":
            raise ValueError(
                "an empty instance name would make all workers one member of the group, each reading everything: "
                "leave it out, or give each worker a name of its own"
            )


class FailFastApp(faust.App):
    """Any crash of any Faust service ends the process before a shutdown path can ack cancelled work."""

    def _crash(self, reason: BaseException) -> None:
        die(f"Faust service crashed: {type(reason).__name__}: {reason}")


def build_app(settings: GroupSettings, *, dense: Collection[str], fenced: bool, lanes: LaneRule) -> FailFastApp:
    """The application. dense: topics whose offsets have no gaps. fenced: offsets are committed by transactions.
    lanes: topics whose records wait until they are due.
    """
    app = FailFastApp(
        settings.group,
        broker="kafka://" + ";".join(settings.bootstrap.split(",")),
        store="memory://",
        datadir=str(settings.data_dir),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=1,  # makes Faust use the assignor below; there are no Faust tables
        PartitionAssignor=ColumnAssignor,
        agent_supervisor="mode.CrashingSupervisor",
        processing_guarantee="at_least_once",
        stream_wait_empty=True,
        stream_buffer_maxsize=4096,
        broker_commit_interval=1.0,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=min(3.0, settings.session_timeout_seconds / 3),
        broker_rebalance_timeout=settings.rebalance_timeout_seconds,
        broker_request_timeout=settings.request_timeout_seconds,
        broker_max_poll_interval=MAX_PAUSE_SECONDS,
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        consumer_auto_offset_reset="earliest",  # overruled: ownership seeks every partition itself
        consumer_group_instance_id=settings.instance,
    )
    app.flow_control = NoClearOnResume()
    app.transport = BatchTransport(app.conf.broker_consumer, app)
    app.finalize()
    consumer: Any = app.consumer
    consumer.dense = frozenset(dense)
    consumer.commits = not fenced
    consumer.holding = Holding(lanes)
    return app


def batches_of(app: FailFastApp, topics: Sequence[str]) -> Any:
    """The channel to hand to `@app.agent`: batches of raw records of all these topics."""
    schema = BatchSchema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    return app.topic(*topics, schema=schema)


@dataclass(frozen=True, slots=True)
class Running:
    """An application ready to start, and what to do once it has stopped in good order."""

    app: FailFastApp
    on_stopped: Callable[[], None]


def run_app(build: Callable[[], Running], settings: GroupSettings) -> None:
    """Build within an event loop of its own, run until SIGTERM or SIGINT, finish what is in flight, end the process.

    Errors of `build` are raised; whatever goes wrong later ends the process at once (see failfast.py).
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        running = runner.run(_build(build))
        _calm_collector()
        with fail_fast("running the worker"):
            runner.run(_run(running.app, settings))
            running.on_stopped()
        logging.shutdown()
        os._exit(0)  # client threads of the broker connection must not hold up the end of an orderly stop


def _calm_collector() -> None:
    """Look for garbage in cycles as rarely as a worker makes some.

    It has tens of thousands of records in hand at any time, which are no garbage: by its own rule Python looks through
    them after every 700 new objects, which took a quarter of a tracker's time (14 of 55 µs per event).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, *gc.get_threshold()[1:])


async def _build(build: Callable[[], Running]) -> Running:
    return build()


async def _run(app: FailFastApp, settings: GroupSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app.in_worker = True
    await app.start()
    await stop.wait()
    logger.info("stopping: finishing what is in flight")
    ShutdownWatchdog(settings.stop_budget_seconds).start()
    await app.stop()
