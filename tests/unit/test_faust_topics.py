"""Faust needs no topic of its own, which is why the catalogue derives none for it."""

import asyncio
from pathlib import Path
from typing import Any

from bems_streams.runtime.app import GroupSettings, build_app
from tests.unit.work_kit import NO_LANES


async def _started(data_dir: Path) -> Any:
    """An application as workers build it, after the services ran that could ask for internal topics."""
    app: Any = build_app(GroupSettings("group", "127.0.0.1:1", data_dir), dense=(), fenced=False, lanes=NO_LANES)
    await app._leader_assignor.on_start()
    await app._reply_consumer.on_start()
    app.consumer._thread.thread_loop.close()  # opened for a thread that never starts here
    return app


def test_an_agent_subscribes_to_nothing_but_what_it_reads(tmp_path: Path) -> None:
    """Neither a leader topic nor a reply topic: both would have to exist, since Faust may not create topics."""
    with asyncio.Runner() as runner:
        app = runner.run(_started(tmp_path))
    assert app.conf.topic_allow_declare is False
    assert len(app.topics) == 0
    assert len(app.tables) == 0
