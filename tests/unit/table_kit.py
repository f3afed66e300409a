"""Tables on disk for tests: with little memory, which they share.

Not here: the table in memory (flow_kit.py).
"""

from pathlib import Path
from typing import Final

from bems_streams.ports import Deadlines
from bems_streams.runtime.table import TablePartition
from bems_streams.runtime.table_memory import SMALLEST_BYTES, TableMemory
from tests.unit.flow_kit import AS_STORED

TABLE_MEMORY: Final = TableMemory(SMALLEST_BYTES)


def open_table(folder: Path, number: int = 0, deadlines: Deadlines = AS_STORED) -> TablePartition:
    """One partition; close it before it is opened again."""
    return TablePartition(folder, number, deadlines, TABLE_MEMORY)
