"""Jars over HTTP from a Maven repository, several at once, each checked against its pinned SHA-256.

Not here: where they are kept (kafka_dist.py).
"""

import hashlib
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx

_AT_ONCE: Final = 8
_TIMEOUT_SECONDS: Final = 20.0  # to connect, and without a byte
_PAUSES_SECONDS: Final = (0.2, 1.0)  # before the second and third try of a file
_CHUNK_BYTES: Final = 256 * 1024
Progress = Callable[[str], None]


class KafkaFetchError(Exception):
    """Kafka could not be fetched. The message says what to do next."""


class PinnedJar(NamedTuple):
    """One jar and what it must contain."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """As Maven repositories name it."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def url_path(self) -> str:
        """Where Maven repositories keep it, below their URL."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.filename}"


def matches(path: Path, jar: PinnedJar) -> bool:
    """Whether that file is the pinned one."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256


def download_jars(
    folder: Path, jars: Sequence[PinnedJar], label: str, progress: Progress, repository: str | None
) -> None:
    """Put all jars into the folder. `repository` None: the central one, whose address jgo knows."""
    url = _central_repository() if repository is None else _checked(repository)
    progress(f"{label}: 0 of {len(jars)} files")
    with httpx.Client(timeout=_TIMEOUT_SECONDS, verify=_trusted(), follow_redirects=True) as client:
        fetching = _Fetching(client, url, folder)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as pool:
            try:
                futures = [pool.submit(fetching.fetch, jar) for jar in jars]
                done_bytes = 0
                for done, future in enumerate(as_completed(futures), start=1):
                    done_bytes += future.result()
                    progress(f"{label}: {done} of {len(jars)} files, {done_bytes / 1e6:.0f} MB")
            finally:
                fetching.ended.set()
                pool.shutdown(wait=True, cancel_futures=True)


class _Fetching:
    """One download of many files; `ended` makes those that still run give up."""

    def __init__(self, client: httpx.Client, url: str, folder: Path) -> None:
        self.ended = threading.Event()
        self._client = client
        self._url = url
        self._folder = folder

    def fetch(self, jar: PinnedJar) -> int:
        """Fetch one jar, trying again what may pass; returns its size in bytes."""
        for pause_seconds in (*_PAUSES_SECONDS, None):
            try:
                return self._fetch_once(jar)
            except httpx.HTTPError as error:
                if pause_seconds is None or not _may_pass(error) or self.ended.wait(pause_seconds):
                    raise KafkaFetchError(self._advice(jar, error)) from error
        raise AssertionError("the last try returns or raises")

    def _fetch_once(self, jar: PinnedJar) -> int:
        path = self._folder / jar.filename
        with self._client.stream("GET", f"{self._url}/{jar.url_path}") as response, path.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                if self.ended.is_set():
                    raise KafkaFetchError("Fetching Kafka was stopped. Start again.")
                file.write(chunk)
        if not matches(path, jar):
            raise KafkaFetchError(
                f"{jar.filename} from {_shown(self._url)} is not the pinned file: its SHA-256 differs. "
                "Nothing was kept. Check which repository or proxy answers there, then start again."
            )
        return path.stat().st_size

    def _advice(self, jar: PinnedJar, error: httpx.HTTPError) -> str:
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            reason = f"HTTP {error.response.status_code}"
        hint = "Check the network, or name a Maven repository that this machine reaches with --repository URL"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            hint = "Set SSL_CERT_FILE to the file with your organisation's certificate authorities"
        return (
            f"Kafka could not be fetched: {jar.filename} from {_shown(self._url)}: {reason}\n"
            f"{hint}, then start again. Nothing was kept."
        )


def _may_pass(error: httpx.HTTPError) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == httpx.codes.TOO_MANY_REQUESTS or error.response.is_server_error
    return isinstance(error, httpx.TransportError)


def _central_repository() -> str:
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL)


def _checked(repository: str) -> str:
    try:
        httpx.URL(repository)
        parts = urlsplit(repository)
    except (httpx.InvalidURL, ValueError):
        parts = None
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise KafkaFetchError("The Maven repository is no http or https address. Correct --repository URL.")
    return repository.rstrip("/")


def _trusted() -> ssl.SSLContext:
    """What this machine trusts, its organisation's authorities included, and the public ones."""
    try:
        context = httpx.create_ssl_context()
        context.load_default_certs()
    except OSError as error:
        raise KafkaFetchError(
            f"The trusted certificates cannot be read: {error}. Correct SSL_CERT_FILE, then start again."
        ) from error
    return context


def _shown(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
