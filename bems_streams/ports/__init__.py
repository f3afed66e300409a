"""What flows ask of the outside, as Protocols and plain values. Adapters fulfil these; tests fulfil them in memory.

Import from here. Not here: any implementation, any business rule.
"""

from bems_streams.ports.log import (
    Appended,
    Appender,
    Clock,
    Coordinates,
    Headers,
    NotAppended,
    OutRecord,
    Publisher,
    PublishFailedError,
    RawRecord,
)
from bems_streams.ports.reading import (
    RatePoint,
    StageActivity,
    StageStanding,
    StoreCounts,
    StoreReader,
    Timeline,
    Visibility,
)
from bems_streams.ports.store import (
    AlertRow,
    DeadLetterRow,
    DuplicateRow,
    EventRow,
    EventStore,
    InvoiceRow,
    StoreBatch,
    StoreUnavailableError,
    StoreUnusableError,
    WriteOutcome,
    WriteResult,
)
from bems_streams.ports.tracking import Change, Deadlines, FencedLog, InvoiceTable, Offsets, Place, Settled

__all__ = [
    "AlertRow",
    "Appended",
    "Appender",
    "Change",
    "Clock",
    "Coordinates",
    "DeadLetterRow",
    "Deadlines",
    "DuplicateRow",
    "EventRow",
    "EventStore",
    "FencedLog",
    "Headers",
    "InvoiceRow",
    "InvoiceTable",
    "NotAppended",
    "Offsets",
    "OutRecord",
    "Place",
    "PublishFailedError",
    "Publisher",
    "RatePoint",
    "RawRecord",
    "Settled",
    "StageActivity",
    "StageStanding",
    "StoreBatch",
    "StoreCounts",
    "StoreReader",
    "StoreUnavailableError",
    "StoreUnusableError",
    "Timeline",
    "Visibility",
    "WriteOutcome",
    "WriteResult",
]
