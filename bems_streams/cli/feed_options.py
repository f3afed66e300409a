"""Options and the ending that `bems feed` and `bems simulate` share.

Not here: sending (local/feeder.py).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from bems_streams.local.feed_types import FeedSummary

T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _checked_url(context: click.Context, parameter: click.Parameter, value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise click.BadParameter(f"{value!r} is no address of a gateway; give one like http://127.0.0.1:8080")
    return value


def feed_options(command: Decorated) -> Decorated:
    """How to reach the gateway, how hard to try, and where results go."""
    for option in reversed(
        (
            click.option(
                "--url",
                default="http://127.0.0.1:8080",
                show_default=True,
                callback=_checked_url,
                help="Address of the gateway.",
            ),
            click.option("--connections", type=click.IntRange(1, 256), default=4, show_default=True),
            click.option(
                "--batch",
                type=click.IntRange(1, 1000),
                default=1000,
                show_default=True,
                help="Events that a connection collects before it sends.",
            ),
            click.option(
                "--give-up-after",
                type=click.FloatRange(0),
                default=300.0,
                show_default=True,
                metavar="SECONDS",
                help="How long to keep trying when the gateway is away or takes nothing.",
            ),
            click.option(
                "--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the summary here."
            ),
            click.option(
                "--rejects",
                type=click.Path(path_type=Path, dir_okay=False),
                help="Write every event that was not accepted here, with its problems.",
            ),
            click.option(
                "--show", type=click.IntRange(0), default=10, show_default=True, help="How many of them to print."
            ),
        )
    ):
        command = option(command)
    return command


@contextmanager
def file_errors() -> Iterator[None]:
    """A file that cannot be opened or written is the user's to mend: a message, not a traceback."""
    try:
        yield
    except* OSError as errors:
        error = _first(errors)
        raise click.ClickException(
            f"{error.filename or 'writing a file'}: {error.strerror}; make room, or name a file that can be written"
        ) from errors


def _first(errors: BaseExceptionGroup[OSError]) -> OSError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OSError)
    return error


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end. A second Ctrl-C ends it at once."""
    try:
        return asyncio.run(work)
    except asyncio.CancelledError:
        raise click.ClickException(
            "stopped at once: what was under way may or may not be accepted. Running it again is safe"
        ) from None


def end(summary: FeedSummary, advice: str) -> None:
    """Fail when not everything was settled."""
    if summary.stopped is None and not summary.gave_up:
        return
    left = f"; gave up on {summary.gave_up:,} events" if summary.gave_up else ""
    raise click.ClickException(f"not finished: {summary.stopped}{left}. {advice}")
