"""Who this worker is within its consumer group: what the broker checks before it lets a transaction commit offsets.

Not here: joining the group (Faust and aiokafka do) or the transaction (fence.py).
"""

import struct
from typing import NamedTuple


class Membership(NamedTuple):
    """One member in one generation of a group; a newer generation makes the broker refuse it."""

    group: str
    generation: int
    member: str
    instance: str | None

    def metadata(self) -> bytes:
        """In the form that `confluent_kafka.Producer.send_offsets_to_transaction` takes.

        librdkafka's own serialisation of consumer group metadata (rd_kafka_consumer_group_metadata_write, version 2):
        magic, generation (int32, little endian), group, member, a byte that is 1 without an instance, instance;
        strings end with NUL. A contract test holds it against `Consumer.consumer_group_metadata()`.
        """
        head = b"CGMDv2:" + struct.pack("<i", self.generation)
        ids = self.group.encode() + b"\0" + self.member.encode() + b"\0"
        return head + ids + (b"\1" if self.instance is None else b"\0" + self.instance.encode() + b"\0")
