"""Lets one process at a time do what several would do at once: fill a cache folder.

Not here: what it does.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(lock_path: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold `lock_path` for a block; `on_wait` is called when another process has it. It is let go however that ends."""
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
