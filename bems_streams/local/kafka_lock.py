"""Writes kafka.lock anew: `python -m bems_streams.local.kafka_lock VERSION` pins that Kafka and all it needs.

For maintainers, when Kafka is updated. Not here: using the lock (kafka_dist.py).
"""

import dataclasses
import hashlib
import logging
import sys
import tempfile
from pathlib import Path
from typing import Final

_LOCK_FILE: Final = Path(__file__).with_name("kafka.lock")
_HEAD: Final = "# Jars of the embedded broker: group:artifact:version SHA-256. Written by kafka_lock.py.\n"
LOGGER: Final = "org.slf4j:slf4j-simple:1.7.36"  # without a logger a broker would fail in silence


class _RefuseWarnings(logging.Handler):
    """The resolver only warns when a checksum differs."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.exit(f"nothing was pinned: {record.getMessage()}")


def main(version: str) -> None:
    """Pin the broker of that version."""
    write_lock(_LOCK_FILE, _HEAD, f"org.apache.kafka:kafka_2.13:{version}+{LOGGER}")


def write_lock(lock_file: Path, head: str, wanted: str) -> None:
    """Resolve `wanted` (coordinates with + in between) and all that it needs; download and hash every jar; write."""
    from jgo.maven import MavenContext
    from jgo.parse import Endpoint

    logging.getLogger("jgo").addHandler(_RefuseWarnings(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder:
        maven = MavenContext(repo_cache=Path(folder))
        coordinates = Endpoint.parse(wanted).coordinates
        inputs = [maven.create_dependency(dataclasses.replace(item, scope="compile")) for item in coordinates]
        named, needed = maven.resolver.resolve(inputs)
        artifacts = [d.artifact for d in [*named, *(d for d in needed if d.scope in ("compile", "runtime"))]]
        lines = [
            f"{a.groupId}:{a.artifactId}:{a.version} {hashlib.sha256(a.resolve().read_bytes()).hexdigest()}\n"
            for a in artifacts
        ]
    lock_file.write_text(head + "".join(sorted(lines)), encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
