"""`bems feed`: a file or pipe of events, through a gateway.

Not here: reading (local/feed_lines.py), sending (local/feeder.py), showing (local/feed_report.py).
"""

from pathlib import Path

import click
from rich.console import Console

from bems_streams.cli.feed_options import end, feed_options, file_errors, run
from bems_streams.local.feed_lines import LineFile
from bems_streams.local.feed_pace import at_rate
from bems_streams.local.feed_report import FeedReport, write_json
from bems_streams.local.feed_stop import stop_on_signals
from bems_streams.local.feed_types import FeedOptions, FeedSummary
from bems_streams.local.feeder import feed


@click.command(name="feed", short_help="Send a file of events through a gateway.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Events per second, at most.")
@feed_options
def command(
    *,
    file: str,
    rate: float | None,
    url: str,
    connections: int,
    batch: int,
    give_up_after: float,
    json_path: Path | None,
    rejects: Path | None,
    show: int,
) -> None:
    """Send FILE (JSON lines, gzipped or not; - for standard input) through a gateway, byte for byte.

    Every line ends as accepted, rejected (bad events; the rest goes on) or given up (then the exit code is 1).
    Feeding a file again is safe: events that were accepted before are recognised by their event_id.
    """
    options = FeedOptions(connections=connections, batch_events=batch, give_up_after_seconds=give_up_after)
    with file_errors(), _opened(file) as lines:
        report = FeedReport(lines.name, total=lines.size_bytes, rejects=rejects, shown=show)
        with report:
            summary = run(_feed(lines, rate, url, options, report))
        report.print(summary, (), Console())
        if json_path:
            write_json(json_path, summary, {"file": lines.name, "url": url})
    end(summary, "Feed it again from the start: what was accepted before is recognised")


def _opened(file: str) -> LineFile:
    try:
        return LineFile(file)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}; name a file that can be read") from error


async def _feed(lines: LineFile, rate: float | None, url: str, options: FeedOptions, report: FeedReport) -> FeedSummary:
    offers = lines.offers()
    with stop_on_signals() as stop:
        return await feed(
            at_rate(offers, rate) if rate else offers,
            url,
            options,
            stop=stop,
            on_progress=lambda progress: report.progressed(progress, completed=lines.read_bytes),
            on_refused=report.refused,
        )
