"""Fetching Kafka once, from a repository on this machine that the test controls."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bems_streams.local.download import KafkaFetchError, PinnedJar
from bems_streams.local.kafka_dist import (
    default_cache_dir,
    kafka_distribution,
    kafka_version,
    pinned_jars,
)

FILES = {"kafka_2.13": b"broker", "kafka-clients": b"clients" * 10_000, "slf4j-simple": b"logger"}
PINNED = tuple(PinnedJar("org.x", name, "1.0", hashlib.sha256(body).hexdigest()) for name, body in FILES.items())


class Repository:
    """A Maven repository over HTTP that serves FILES, or whatever a test puts in its place."""

    def __init__(self) -> None:
        self.files = {f"/org/x/{name}/1.0/{name}-1.0.jar": body for name, body in FILES.items()}
        self.busy_answers = 0
        self.asked: list[str] = []
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                body = repository.files.get(self.path)
                status = 404 if body is None else 200
                if repository.busy_answers > 0:
                    repository.busy_answers -= 1
                    status, body = 503, b"busy"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                """The test asserts on `asked`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def jars_asked(self) -> list[str]:
        """Requests for jars, sorted."""
        return sorted(path for path in self.asked if path.endswith(".jar"))

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def repository() -> Iterator[Repository]:
    """A repository that serves what is pinned."""
    served = Repository()
    yield served
    served.close()


def fetched(cache: Path, repository: Repository) -> dict[str, bytes]:
    """Fetch into the cache; names and contents of the jars."""
    distribution = kafka_distribution(cache, lambda _: None, repository.url, PINNED)
    return {jar.name: jar.read_bytes() for jar in distribution.jars}


def test_what_is_pinned_is_fetched_once(tmp_path: Path, repository: Repository) -> None:
    """The first use fetches every jar into a new cache folder; the second asks nobody."""
    # given a cache folder that does not exist
    cache = tmp_path / "home" / ".cache" / "bems"
    # when it is used twice
    first, second = fetched(cache, repository), fetched(cache, repository)
    # then
    assert first == second == {f"{name}-1.0.jar": body for name, body in FILES.items()}
    assert repository.jars_asked() == sorted(repository.files)
    assert not list(cache.glob(".fetching-*"))


def test_two_at_once_fetch_once(tmp_path: Path, repository: Repository) -> None:
    """Whoever comes second waits for the first and uses its files."""
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: fetched(tmp_path, repository), range(4)))
    assert all(result == results[0] for result in results)
    assert repository.jars_asked() == sorted(repository.files)


@pytest.mark.parametrize("damage", ["cut short", "changed", "missing"])
def test_a_damaged_cache_is_fetched_anew(tmp_path: Path, repository: Repository, damage: str) -> None:
    """A jar that is not what the lock pins is never run."""
    # given
    whole = fetched(tmp_path, repository)
    (jar,) = tmp_path.glob("*/kafka-clients-1.0.jar")
    match damage:
        case "cut short":
            jar.write_bytes(jar.read_bytes()[:100])
        case "changed":
            jar.write_bytes(jar.read_bytes().replace(b"c", b"d"))
        case _:
            jar.unlink()
    # when / then
    assert fetched(tmp_path, repository) == whole


def test_another_pinned_set_does_not_use_this_one(tmp_path: Path, repository: Repository) -> None:
    """Files of another version stay in the cache and are not used."""
    # given a cache filled for the pinned set
    fetched(tmp_path, repository)
    # when a newer set is wanted
    newer = tuple(jar._replace(version="2.0") for jar in PINNED)
    for jar in newer:
        repository.files[f"/org/x/{jar.artifact}/2.0/{jar.filename}"] = FILES[jar.artifact]
    distribution = kafka_distribution(tmp_path, lambda _: None, repository.url, newer)
    # then
    assert distribution.version == "2.0"
    assert all(jar.name.endswith("-2.0.jar") for jar in distribution.jars)


def test_two_pinned_sets_of_one_version_live_side_by_side(tmp_path: Path, repository: Repository) -> None:
    """Installations that pin the same Kafka with other companions do not fetch over one another."""
    # given the pinned set, and one with another logger
    other = (*PINNED[:2], PINNED[2]._replace(version="2.0"))
    repository.files[f"/{other[2].url_path}"] = FILES["slf4j-simple"]
    for jars in (PINNED, other):
        kafka_distribution(tmp_path, lambda _: None, repository.url, jars)
    asked = len(repository.asked)
    # when both are wanted again
    first, second = (kafka_distribution(tmp_path, lambda _: None, repository.url, jars) for jars in (PINNED, other))
    # then
    assert len(repository.asked) == asked
    assert [jar.name for jar in first.jars] != [jar.name for jar in second.jars]


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path, repository: Repository) -> None:
    """A tampered jar is named, and nothing is kept."""
    repository.files["/org/x/kafka-clients/1.0/kafka-clients-1.0.jar"] = b"something else"
    with pytest.raises(KafkaFetchError, match=r"kafka-clients-1\.0\.jar .* SHA-256 differs"):
        fetched(tmp_path, repository)
    assert not list(tmp_path.rglob("*.jar"))


def test_a_file_that_the_repository_lacks_is_named(tmp_path: Path, repository: Repository) -> None:
    """The message says which file is missing where, without the password of the repository, and what to do."""
    # given a repository behind a password, without one of the jars
    del repository.files["/org/x/slf4j-simple/1.0/slf4j-simple-1.0.jar"]
    url = repository.url.replace("http://", "http://reader:secret@")
    # when
    with pytest.raises(KafkaFetchError) as failed:
        kafka_distribution(tmp_path, lambda _: None, url, PINNED)
    # then
    assert "slf4j-simple" in str(failed.value)
    assert repository.url in str(failed.value)
    assert "--repository" in str(failed.value)
    assert "secret" not in str(failed.value)


def test_a_busy_repository_is_asked_again(tmp_path: Path, repository: Repository) -> None:
    """An answer that may pass, such as 503, is no failure yet; the file that comes is whole."""
    repository.busy_answers = 2
    assert fetched(tmp_path, repository)["kafka-clients-1.0.jar"] == FILES["kafka-clients"]
    assert len(repository.asked) == len(FILES) + 2


@pytest.mark.parametrize("url", ["repository.example", "http://[", "ftp://127.0.0.1/maven"])
def test_a_repository_that_is_no_http_url_is_an_error_with_advice(tmp_path: Path, url: str) -> None:
    """Whatever is wrong with the address, the message says which option to mend."""
    with pytest.raises(KafkaFetchError, match="Correct --repository URL"):
        kafka_distribution(tmp_path, lambda _: None, url, PINNED)


def test_trusted_certificates_that_are_missing_are_named(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong SSL_CERT_FILE is not blamed on the cache folder."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(KafkaFetchError, match="Correct SSL_CERT_FILE"):
        fetched(tmp_path, repository)


def test_an_unreachable_repository_is_an_error_with_advice(tmp_path: Path, repository: Repository) -> None:
    """When nobody answers, the message names the address and what to do; the next try may work."""
    repository.close()
    with pytest.raises(KafkaFetchError, match=r"could not be fetched: .* from http://127.*\n.*--repository"):
        fetched(tmp_path, repository)
    assert not list(tmp_path.glob("*fetching*"))


def test_a_cache_that_cannot_be_written_is_an_error_with_advice(tmp_path: Path, repository: Repository) -> None:
    """A cache folder below a file is refused with what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(KafkaFetchError, match="set XDG_CACHE_HOME"):
        fetched(tmp_path / "file" / "cache", repository)


def test_progress_counts_files(tmp_path: Path, repository: Repository) -> None:
    """Every file that arrives is told."""
    told: list[str] = []
    kafka_distribution(tmp_path, told.append, repository.url, PINNED)
    assert [text.split(":")[1].split(",")[0].strip() for text in told] == [f"{n} of 3 files" for n in range(4)]


def test_the_cache_follows_the_xdg_convention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$XDG_CACHE_HOME when it is an absolute path, else ~/.cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_cache_dir() == Path("/elsewhere/bems")
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert default_cache_dir() == tmp_path / ".cache/bems"


def test_the_lock_pins_a_whole_kafka() -> None:
    """The lock names the broker once, a logger, and a full SHA-256 for every jar."""
    jars = pinned_jars()
    names = [jar.artifact for jar in jars]
    assert kafka_version(jars).startswith("4.")
    assert {"kafka_2.13", "kafka-clients", "kafka-metadata", "slf4j-simple"} <= set(names)
    assert len(set(names)) == len(names)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)
