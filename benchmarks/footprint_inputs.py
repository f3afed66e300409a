"""The measured inputs of `bems capacity`: what each is, and writing them into their file.

Not here: measuring them (footprint.py).
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HEAD: Final = """\
# What was measured, on which machine. `python -m benchmarks.footprint --measured FILE` writes those it measures anew.
# `bems capacity --set name=value` or `--values FILE` replaces any of them.
"""
CPU: Final = "µs/event"
CORES: Final = "cores"
EACH: Final = "bytes"
MEANINGS: Final[Mapping[str, tuple[str, str]]] = {
    "gateway_cpu_us": (CPU, "CPU of the gateway, one event in a request"),
    "gateway_batch_cpu_us": (CPU, "CPU of the gateway, 100 events in a request"),
    "tracker_cpu_us": (CPU, "CPU of the tracker"),
    "sink_cpu_us": (CPU, "CPU of the sink with SQLite, statuses and the ledger included"),
    "ledger_cpu_us": (CPU, "CPU of the ledger's watch, which verifies every event"),
    "broker_cpu_us": (CPU, "CPU of brokers with one copy, everything included; it falls as batches grow with the rate"),
    "console_cpu_us": (CPU, "CPU of the console, nobody looking"),
    "gateway_idle_cores": (CORES, "what a gateway uses whatever the rate"),
    "tracker_idle_cores": (CORES, "what a tracker uses whatever the rate"),
    "sink_idle_cores": (CORES, "what a sink uses whatever the rate"),
    "ledger_idle_cores": (CORES, "what the ledger's watch uses whatever the rate"),
    "console_idle_cores": (CORES, "what the console uses whatever the rate"),
    "tracker_batch_ms": ("ms", "a batch of the tracker, however few events it has: its transaction and its write"),
    "sink_batch_ms": ("ms", "a batch of the sink, however few events it has: its transaction in the store"),
    "gateway_rss_bytes": (EACH, "peak memory of a gateway"),
    "tracker_rss_bytes": (EACH, "peak memory of a tracker on a backlog, little in its tables"),
    "sink_rss_bytes": (EACH, "peak memory of a sink"),
    "ledger_rss_bytes": (EACH, "peak memory of the ledger's watch"),
    "console_rss_bytes": (EACH, "peak memory of the console"),
    "event_log_bytes": (EACH, "an event in its stage topic, one copy"),
    "account_bytes_per_event": (EACH, "an event's share of the ledger topic, one copy"),
    "status_bytes_per_event": (EACH, "written to the status topic for an event, one copy"),
    "status_record_bytes": (EACH, "one record of the status topic"),
    "changelog_bytes_per_event": (EACH, "written to the changelog for an event, one copy"),
    "changelog_record_bytes": (EACH, "one record of the changelog"),
    "table_bytes_per_invoice": (EACH, "an invoice in a tracker's tables on disk"),
    "store_bytes_per_event": (EACH, "an event in the store with its indexes and its share of the ledger"),
    "store_bytes_per_invoice": (EACH, "an invoice's newest state in the store"),
    "restore_rows_per_second": ("rows/s", "states that a tracker with an empty disk restores from its changelog"),
}


def write_measured(path: Path, values: Mapping[str, float], source: str) -> None:
    """Replace these in the file, and leave what others measured."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, value in values.items():
        entries[name] = {"value": float(f"{value:.3g}"), "source": source}
    parts = [HEAD]
    for name, (unit, meaning) in MEANINGS.items():
        if name in entries:
            value, origin = entries[name]["value"], entries[name]["source"]
            parts.append(f'[{name}]\nvalue = {value:g}\nunit = "{unit}"\nmeaning = "{meaning}"\nsource = "{origin}"\n')
    path.write_text("\n".join(parts), encoding="utf-8")
