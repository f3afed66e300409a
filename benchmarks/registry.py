"""Every benchmark there is, in the order in which they run, and what is drawn of each.

Not here: running them (gather.py), drawing (plots.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar per case with the spread of its runs. `figure` is a name in a case of the JSON report."""

    title: str
    figure: str
    unit: str
    only: Mapping[str, object] | None = None
    """Only cases with these settings."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line per kind of case over a setting that varies; the band is the spread of the runs."""

    title: str
    figure: str
    unit: str
    over: str
    over_unit: str


Plot = Bars | Curve


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module, run as `python -m <package>.<name> [--quick] [--json FILE]`.

    peers   prefixes of the names of cases that are not this product; they are drawn in grey
    """

    name: str
    measures: str
    plots: Sequence[Plot] = ()
    peers: Sequence[str] = ()
    package: str = "benchmarks"


CPU: Final = ("cpu_us_per_event", "µs")
CURVES_OF_GROWTH: Final = (
    Curve("CPU per event against open invoices", *CPU, "open_invoices", "open invoices"),
    Curve("CPU per event against partitions", *CPU, "partitions", "partitions"),
)

BENCHMARKS: Final = (
    Benchmark("domain", "what parsing, folding and encoding an event costs", (Bars("CPU per operation", *CPU),)),
    Benchmark(
        "gateway",
        "durable acceptance over HTTP, beside parsing only and FastAPI",
        (
            Bars("One event in a request: CPU per event", *CPU, {"events_per_request": 1}),
            Bars("100 events in a request: CPU per event", *CPU, {"events_per_request": 100}),
            Bars("Answered after, 99 %", "p99_ms", "ms"),
        ),
        ("parse", "bare", "fastapi"),
    ),
    Benchmark("tracker", "one tracker process on a backlog"),
    Benchmark(
        "tracker_peers",
        "the tracker beside other engines that do the same work, on one broker, in turns",
        (
            Bars("Tracker and peers: CPU per event", *CPU),
            Bars("Second half of the run: CPU per event", "steady_cpu_us_per_event", "µs"),
            Bars("Peak memory", "peak_rss_bytes", "MB"),
        ),
        ("bare", "kafka streams", "quix", "stock faust", "faust", "raw"),
    ),
    Benchmark(
        "end_to_end",
        "HTTP to visible row: the rate that a whole cell on this machine holds, and how soon events are visible",
        (
            Curve("Visible after, 99 %", "visible_p99_ms", "ms", "rate", "events/s"),
            Bars("CPU of the whole cell per event", *CPU),
        ),
    ),
    Benchmark(
        "catch_up",
        "tracker and sink, stopped and started again, on a backlog",
        (Bars("Working off a backlog", "events_per_second", "events/s"),),
    ),
    Benchmark(
        "scale_out",
        "1, 2 and 4 trackers on the partitions of one topic",
        (Bars("Trackers side by side", "events_per_second", "events/s"), Bars("CPU per event", *CPU)),
    ),
    Benchmark(
        "recovery",
        "states that a tracker with an empty disk restores from its changelog",
        (Bars("Restoring an empty disk", "events_per_second", "rows/s"),),
    ),
    Benchmark("restart", "kill -9 of a tracker to processing again, warm disk"),
    Benchmark(
        "sink",
        "each store beside the bare bulk upsert of the same rows, and the sink process on it",
        (Bars("Sink: CPU per row", *CPU),),
        ("sqlite, bare",),
    ),
    Benchmark("growth", "tracker CPU per event against open invoices and partitions", CURVES_OF_GROWTH),
    Benchmark(
        "deadlines",
        "deadline scans against what is due and what is open",
        (Curve("A scan against open invoices", "scan_us", "µs", "open_invoices", "open invoices"),),
    ),
    Benchmark(
        "memory", "a tracker's memory against the bound it is given", (Bars("Peak memory", "peak_rss_bytes", "MB"),)
    ),
    Benchmark(
        "visibility",
        "acceptance to visible row at 1,000 events/s, whole cell",
        (
            Bars("Visible after, median", "polled_p50_ms", "ms"),
            Bars("Visible after, 99 %", "polled_p99_ms", "ms"),
        ),
    ),
    Benchmark("outage", "a store that is away, and catching up when it is back"),
    Benchmark("footprint", "what an event and an invoice leave behind, for `bems capacity`"),
)
