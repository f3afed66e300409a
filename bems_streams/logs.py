"""One log format for every process: UTC, level, logger, message. Not here: what to log."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Final

_FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-8s %(name)s %(message)s"
_QUIET: Final = ("aiokafka", "faust", "mode", "httpx", "httpcore", "uvicorn.access")
REPEAT_SECONDS: Final = 10.0


class Repeats(logging.Filter):
    """Lets a message pass once in a while and then says how often it came: a broker that is away must not fill a disk.

    Messages count as the same when logger, level and template are; below WARNING nothing is held back.
    """

    def __init__(self, every_seconds: float = REPEAT_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_seconds = every_seconds
        self._now = now
        self._last: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written; a written one gets the count of those held back before it."""
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        kind = (record.name, record.levelno, str(record.msg)[:80])
        since, held = self._last.get(kind, (-self._every_seconds, 0))
        now = self._now()
        if now - since < self._every_seconds:
            self._last[kind] = (since, held + 1)
            return False
        self._last[kind] = (now, 0)
        if held:
            record.msg = f"{record.getMessage()} ({held} more like this in {now - since:.0f} s)"
            record.args = ()
        return True


def setup_logs(level: str = "INFO") -> None:
    """Send the root logger to standard error at `level`; third parties speak from WARNING on."""
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(Repeats())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
