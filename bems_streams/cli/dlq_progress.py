"""Progress bars of the commands about dead letters: on standard error, and only where that is a terminal.

Not here: what is being done.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bems_streams.ports import Extent, Place

T = TypeVar("T")


@contextmanager
def bars() -> Iterator[Progress]:
    """Bars that go when they are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def expected(spans: Mapping[Place, Extent]) -> int:
    """How many records there may be."""
    return sum(span.end - span.start for span in spans.values())


def counted(items: Iterable[T], spans: Mapping[Place, Extent]) -> Iterator[T]:
    """The same items, with a bar while they are read."""
    with bars() as progress:
        yield from progress.track(items, total=expected(spans), description="reading dead letters")
