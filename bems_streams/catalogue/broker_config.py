"""What each kind of topic is set to on the broker, as Kafka writes it. Not here: comparing or applying it.

The names and meanings are Kafka's topic configuration: https://kafka.apache.org/documentation/#topicconfigs
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

# A producer's batch is at most 1 MiB: sixteen events of the largest size (64 KiB), before compression.
MAX_BATCH_BYTES: Final = 1024 * 1024
_BATCH_OVERHEAD_BYTES: Final = 12  # Kafka's own default is 1 MiB plus the log overhead, too
# A dead letter is the original record, which may fill a batch, and the headers that say why.
MAX_DEAD_LETTER_BYTES: Final = 2 * MAX_BATCH_BYTES
_COMPACTED_SEGMENT_BYTES: Final = 128 * 1024 * 1024
_COMPACTED_SEGMENT: Final = timedelta(days=1)


def every_topic(min_insync_replicas: int, max_message_bytes: int = MAX_BATCH_BYTES) -> dict[str, str]:
    """Durability before availability, and records exactly as producers compressed them."""
    return {
        "min.insync.replicas": str(min_insync_replicas),
        "unclean.leader.election.enable": "false",
        "compression.type": "producer",
        "max.message.bytes": str(max_message_bytes + _BATCH_OVERHEAD_BYTES),
    }


def record_time(timestamp: str) -> Mapping[str, str]:
    """`log-append`: the record time is the broker's, so that retention never depends on what a producer claims."""
    return {"message.timestamp.type": "LogAppendTime" if timestamp == "log-append" else "CreateTime"}


def deleted_after(retention: timedelta) -> Mapping[str, str]:
    """Kept for a time, whatever the size: a broker's default size limit must not delete early."""
    return {"cleanup.policy": "delete", "retention.ms": _milliseconds(retention), "retention.bytes": "-1"}


def compacted(tombstone_retention: timedelta) -> Mapping[str, str]:
    """The newest record per key. Small segments and a low dirty ratio keep what a restore must read near what lives.

    A copy that is older than `tombstone_retention` may miss deletions: its owner must rebuild it.
    """
    return {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.2",
        "segment.bytes": str(_COMPACTED_SEGMENT_BYTES),
        "segment.ms": _milliseconds(_COMPACTED_SEGMENT),
        "delete.retention.ms": _milliseconds(tombstone_retention),
    }


def _milliseconds(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))
