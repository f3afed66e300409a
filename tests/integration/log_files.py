"""What a broker wrote: the record batches of a topic, counted in its log files. One batch is one append.

Not here: what is in the records.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEAD = struct.Struct(">qiibIhi")
"""Base offset, length of the rest, leader epoch, magic, checksum, attributes, last offset delta."""
BEFORE_LENGTH_COUNTS = 12
CONTROL = 0x20


class Appends(NamedTuple):
    """`markers`: of the partition that has most: each transaction that wrote to it ended with one there."""

    records: int
    batches: int
    markers: int


def appends(folder: Path, topic: str) -> Appends:
    """Over all partitions of the topic; `folder` is anywhere above the broker's data."""
    records = batches = most_markers = 0
    for path in folder.rglob("*.log"):
        if path.parent.name.rpartition("-")[0] != topic:
            continue
        markers = 0
        for attributes, count in _batches(path.read_bytes()):
            if attributes & CONTROL:
                markers += 1
            else:
                batches += 1
                records += count
        most_markers = max(most_markers, markers)
    return Appends(records, batches, most_markers)


def _batches(log: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at + HEAD.size <= len(log):
        _, length, _, magic, _, attributes, last_delta = HEAD.unpack_from(log, at)
        if not length:
            return  # what was allocated and not written yet
        assert magic == 2, f"not a record batch of today: magic {magic}"
        yield attributes, last_delta + 1
        at += BEFORE_LENGTH_COUNTS + length
