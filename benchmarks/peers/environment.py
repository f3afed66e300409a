"""A Python environment for engines that the product does not ship, made once from requirements.lock, every file hashed.

It is `<cache>/bench-<digest of the lock>-py<version>/`, complete or absent: a mark is written last, and what lacks it
is made anew. `python -m benchmarks.peers.environment` makes it and prints its Python; with --lock it pins anew.
Not here: what runs in it.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from bems_streams.local.kafka_dist import default_cache_dir
from bems_streams.local.only_one import only_one

LOCK: Final = Path(__file__).with_name("requirements.lock")
WANTED: Final = LOCK.with_suffix(".in")
SHIPPED: Final = Path(__file__).parents[2] / "requirements.lock"
ALIKE: Final = ("msgspec", "aiokafka", "uvicorn", "uvloop", "httptools")
"""Peers use these in the version that the product uses, so that a ratio shows the engine."""

COMPLETE: Final = "complete"
INSTALL_SECONDS: Final = 900.0

Progress = Callable[[str], object]
Install = Callable[[Path, Path], None]
"""Make an environment in the folder given with exactly what the lock given pins."""


def folder_of(cache_dir: Path, lock: Path = LOCK) -> Path:
    """Where the environment for this lock and this Python is, or will be."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    return cache_dir / f"bench-{digest}-py{sys.version_info.major}{sys.version_info.minor}"


def peers_python(progress: Progress, cache_dir: Path | None = None, lock: Path = LOCK) -> Path:
    """The interpreter that has what the lock pins; made now when it is absent or was left unfinished.

    Safe to call from many processes. ClickException says what failed; nothing is left then that a later call would use.
    """
    return made(progress, cache_dir or default_cache_dir(), lock, install) / "bin" / "python"


def made(progress: Progress, cache_dir: Path, lock: Path, install: Install) -> Path:
    """The folder of the environment, complete."""
    folder = folder_of(cache_dir, lock)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        if not (folder / COMPLETE).exists():
            waiting = "waiting for another process that installs the peers"
            with only_one(cache_dir / "bench.lock", lambda: progress(waiting)):
                if not (folder / COMPLETE).exists():
                    progress(f"installing {len(list(pins(lock)))} packages of the peers (once)")
                    _make(folder, lock, install)
    except OSError as error:
        raise click.ClickException(
            f"The cache folder {cache_dir} cannot be used: {error}. Free space or set XDG_CACHE_HOME to a folder that "
            "you may write to, then start again."
        ) from error
    return folder


def _make(folder: Path, lock: Path, install: Install) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # unfinished: whoever makes one holds the lock
    try:
        install(folder, lock)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(folder, ignore_errors=True)
        said = str(getattr(error, "stderr", None) or error).strip()
        raise click.ClickException(
            f"The packages of the peers could not be installed, nothing was kept:\n{said[-2000:]}"
        ) from error
    (folder / COMPLETE).touch()


def install(folder: Path, lock: Path) -> None:
    """With pip, which refuses whatever has another hash."""
    _run(sys.executable, "-m", "venv", str(folder))
    options = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--require-hashes")
    _run(str(folder / "bin" / "python"), "-m", "pip", "install", *options, "-r", str(lock))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)


def pins(lock: Path) -> Iterator[tuple[str, str]]:
    """(name, version) of everything in a lock."""
    for line in lock.read_text(encoding="ascii").splitlines():
        if found := re.match(r"([a-z0-9-]+)(?:\[.*\])?==(\S+)", line):
            yield found[1], found[2]


def write_lock() -> None:
    """Pin anew what requirements.in names."""
    shipped = dict(pins(SHIPPED))
    with tempfile.TemporaryDirectory() as name:
        alike = Path(name) / "alike.txt"
        alike.write_text("".join(f"{each}=={shipped[each]}\n" for each in ALIKE), encoding="ascii")
        _run(sys.executable, "-m", "pip", "install", "--quiet", "uv")
        options = ("--universal", "--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", "--quiet")
        command = ("-m", "uv", "pip", "compile", "--python-version", "3.11", "--upgrade", *options)
        _run(sys.executable, *command, str(WANTED), "-c", str(alike), "-o", str(LOCK))


@click.command()
@click.option("--lock", "lock_anew", is_flag=True, help="Pin the newest versions first.")
def main(*, lock_anew: bool) -> None:
    """Make the environment of the peers and print its Python."""
    if lock_anew:
        write_lock()
    click.echo(peers_python(lambda text: click.echo(text, err=True)))


if __name__ == "__main__":
    main()
