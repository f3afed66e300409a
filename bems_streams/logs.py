"""One log format for every process: UTC, level, logger, message, then key=value pairs. Not here: what to log."""

import logging
import sys
import time
from typing import Final

_FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s %(message)s"
_QUIET: Final = ("aiokafka", "faust", "mode", "httpx", "httpcore", "uvicorn.access")


def setup_logs(level: str = "INFO") -> None:
    """Send the root logger to standard error at `level`; third parties speak from WARNING on."""
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
