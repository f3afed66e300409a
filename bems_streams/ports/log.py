"""The clock and the log: records as read, records to publish, proofs that they are durable.

Times are integers in microseconds since 1970 UTC (`_us`). Not here: any implementation, any business rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """The wall clock. Injected, so that tests own time."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC."""


class Coordinates(NamedTuple):
    """Where a record stands in the log: what a receipt names."""

    topic: str
    partition: int
    offset: int


Headers = Sequence[tuple[str, bytes | None]]
"""A header may have no value, which is not the same as an empty one."""


class RawRecord(NamedTuple):
    """One record as read from a topic, undecoded. `accepted_us` is the broker's LogAppendTime."""

    at: Coordinates
    key: bytes | None
    value: bytes | None
    headers: Headers
    accepted_us: int


class OutRecord(NamedTuple):
    """One record to publish. `partition` None means murmur2 of the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


Place = tuple[str, int]
"""(topic, partition)."""
Offsets = Mapping[Place, int]


class Extent(NamedTuple):
    """Offsets a partition has now: `start` of its oldest record, `end` after its newest committed one."""

    start: int
    end: int


class LogReader(Protocol):
    """Reads what is in the log, as a bystander: no group, nothing committed. Blocking; every call is bounded in time.

    Raises LogUnavailableError when no broker answers, or a topic does not exist.
    """

    def extents(self, places: Sequence[Place]) -> Mapping[Place, Extent]:
        """How far each partition reaches."""

    def offsets_at(self, places: Sequence[Place], moment_us: int) -> Offsets:
        """The first offset accepted at or after the moment; the end where there is none."""

    def read(self, spans: Mapping[Place, Extent]) -> Iterator[RawRecord]:
        """Every committed record of these offsets that is still kept, each partition in order; then it ends, also when
        the last offsets belong to no record (markers of transactions, aborted records).
        """


class GroupOffsets(Protocol):
    """How far the group of an agent has come, asked as a bystander. Blocking, bounded in time.

    Raises LogUnavailableError when no broker answers.
    """

    def committed(self, places: Sequence[Place]) -> Offsets:
        """The offset up to which everything is handled; places of which nothing is yet are absent."""


class HighWatermarks(Protocol):
    """Where partitions end for writers: also what readers do not see yet, because a transaction before it is open.

    Blocking, bounded in time; raises LogUnavailableError when no broker answers.
    """

    def high_watermarks(self, places: Sequence[Place]) -> Offsets:
        """The offset after the newest durable record of each partition."""


class LogUnavailableError(Exception):
    """The broker cannot be asked now. The message says what to do."""


class Appended(NamedTuple):
    """Proof that a record is durable."""

    at: Coordinates
    accepted_us: int


class NotAppended(NamedTuple):
    """No proof that a record is durable. It may be in the log all the same: only an idempotent sender may repeat it."""

    reason: str
    retriable: bool


class Appender(Protocol):
    """Appends records one by one, for those who answer for each of them. Never raises for what a broker does."""

    async def append(self, records: Sequence[OutRecord]) -> Sequence[Appended | NotAppended]:
        """Append in order; one outcome per record, same order, once all are known (bounded by a delivery timeout)."""


class Publisher(Protocol):
    """Appends records to topics. Returns only when all of them are durable (acks=all); raises when any may not be."""

    async def publish(self, records: Sequence[OutRecord]) -> Sequence[Appended]:
        """Append in order; one proof per record, same order. PublishFailedError names what was refused."""


class PublishFailedError(Exception):
    """Some records may not be durable. `retriable`: the broker is away or slow, rather than refusing the record."""

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable
