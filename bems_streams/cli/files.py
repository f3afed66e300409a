"""Files that appear under their name when they are complete, not before. Not here: what is in them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its name once it is complete and on the disk, and goes if it never is."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise click.ClickException(
            f"{path}: {error.strerror}; name a file in a folder with space that you may write to"
        ) from error
    finally:
        part.unlink(missing_ok=True)
