"""The record kept of a record that could not be handled: original bytes, key and headers, where it came from, and why.

Not here: publishing it, listing it, sending it again.
"""

from typing import Final

from bems_streams.domain.event import instant
from bems_streams.domain.problems import Rejected
from bems_streams.ports import OutRecord, RawRecord

MAX_REASON_BYTES: Final = 4096


def dead_letter(record: RawRecord, rejected: Rejected, *, topic: str, agent: str, cell: str, region: str) -> OutRecord:
    """Pure. Original headers stay as they are; ours follow, prefixed `bems-`. A redriven record keeps its history."""
    ours = {
        "bems-origin-topic": record.at.topic,
        "bems-origin-partition": str(record.at.partition),
        "bems-origin-offset": str(record.at.offset),
        "bems-accepted-at": instant(record.accepted_us).isoformat(),
        "bems-agent": agent,
        "bems-code": rejected.code.value,
        "bems-cell": cell,
        "bems-region": region,
    }
    reason = rejected.reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")
    ours["bems-reason"] = reason
    headers = [*record.headers, *((name, text.encode()) for name, text in ours.items())]
    return OutRecord(topic, record.key, record.value, headers)
