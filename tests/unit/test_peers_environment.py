"""The environment of the peers: pinned and hashed, complete or absent, made by one process at a time."""

import subprocess
import threading
from pathlib import Path

import click
import pytest

from benchmarks.peers.environment import ALIKE, LOCK, SHIPPED, WANTED, folder_of, made, pins


class Installer:
    """Makes a file where pip would make an environment."""

    def __init__(self, fails: bool = False) -> None:
        self.calls = 0
        self._fails = fails

    def __call__(self, folder: Path, lock: Path) -> None:
        self.calls += 1
        folder.mkdir()
        (folder / "half").touch()
        if self._fails:
            raise subprocess.CalledProcessError(1, ["pip"], stderr="hashes do not match")
        (folder / "python").write_text(lock.read_text())


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "some.lock"
    path.write_text("quixstreams==3.0 \\\n    --hash=sha256:00\n")
    return path


def test_the_environment_is_made_once(tmp_path: Path, lock: Path) -> None:
    """With one line that says so; the second call finds it."""
    installer, told = Installer(), list[str]()

    folders = [made(told.append, tmp_path / "cache", lock, installer) for _ in range(2)]

    assert folders[0] == folders[1] == folder_of(tmp_path / "cache", lock)
    assert (folders[0] / "python").read_text() == lock.read_text()
    assert installer.calls == 1
    assert told == ["installing 1 packages of the peers (once)"]


def test_another_lock_makes_another_environment(tmp_path: Path, lock: Path) -> None:
    """An update of the lock never runs in what the old one made."""
    before = made(print, tmp_path / "cache", lock, Installer())
    lock.write_text("quixstreams==3.1 \\\n    --hash=sha256:01\n")

    assert made(print, tmp_path / "cache", lock, Installer()) != before


def test_what_could_not_be_installed_is_gone_and_the_reason_is_said(tmp_path: Path, lock: Path) -> None:
    """Then the next call tries again."""
    with pytest.raises(click.ClickException, match="hashes do not match"):
        made(print, tmp_path / "cache", lock, Installer(fails=True))

    assert not folder_of(tmp_path / "cache", lock).exists()
    assert (made(print, tmp_path / "cache", lock, Installer()) / "python").exists()


def test_an_environment_that_was_left_unfinished_is_made_anew(tmp_path: Path, lock: Path) -> None:
    """As after a SIGKILL in the middle of an installation."""
    unfinished = folder_of(tmp_path / "cache", lock)
    unfinished.mkdir(parents=True)
    (unfinished / "leftover").touch()

    folder = made(print, tmp_path / "cache", lock, Installer())

    assert (folder / "python").exists()
    assert not (folder / "leftover").exists()


def test_two_at_once_install_once(tmp_path: Path, lock: Path) -> None:
    """The second waits for the first and uses what that made."""
    installer = Installer()
    threads = [threading.Thread(target=made, args=(print, tmp_path, lock, installer)) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert installer.calls == 1


def test_peers_run_on_the_versions_that_the_product_ships() -> None:
    """Where they share a library, so that a ratio shows the engine."""
    locked, shipped = dict(pins(LOCK)), dict(pins(SHIPPED))

    assert {name: locked[name] for name in ALIKE} == {name: shipped[name] for name in ALIKE}


def test_everything_in_the_lock_is_hashed_and_nothing_names_where_it_comes_from() -> None:
    """pip refuses a file with another hash; which index to ask is the machine's business."""
    text = LOCK.read_text(encoding="ascii")

    assert all("--hash=sha256:" in block for block in text.split("==")[1:])
    assert "://" not in text
    names = {name for name, _ in pins(LOCK)}
    wanted = {line.partition(">")[0] for line in WANTED.read_text().splitlines() if line and not line.startswith("#")}
    assert wanted <= names
