"""What is left of the SQLite store when its process is killed in the middle of writing."""

import subprocess
import sys
from pathlib import Path

import pytest

from bems_streams.adapters.sqlite import SqliteBackend
from bems_streams.adapters.sqlite_files import open_writer

EVENTS_PER_BATCH = 200

WRITER = """
import sys
from pathlib import Path
from bems_streams.adapters.sqlite import SqliteStore
from bems_streams.ports import StoreBatch
from tests.contract.rows import event, invoice

first, store = int(sys.argv[2]), SqliteStore(Path(sys.argv[1]))
for number in range(first, first + 100_000):
    events = [event(f"{number}-{n}", number * 1000 + n, invoice_id=f"INV-{number}") for n in range(int(sys.argv[3]))]
    store.write(StoreBatch(events=events, invoices=[invoice(f"INV-{number}")]))
    print(number, flush=True)
"""


def write_until_killed(path: Path, first: int, acknowledged_at_least: int) -> int:
    """Batches from `first` on, in a process of its own; the last one acknowledged before SIGKILL."""
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(EVENTS_PER_BATCH)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(acknowledged_at_least):
            assert child.stdout.readline(), "the writer ended by itself"
        child.kill()
        rest = [int(line) for line in child.stdout if line.endswith("\n")]
    return rest[-1] if rest else first + acknowledged_at_least - 1


@pytest.mark.parametrize("reopened_by", ["reader", "writer"])
def test_kill_9_loses_no_acknowledged_batch_and_leaves_no_half_one(tmp_path: Path, reopened_by: str) -> None:
    """Killed three times over; each time every acknowledged batch is whole, the one in flight whole or absent."""
    path, first = tmp_path / "store.sqlite3", 0
    backend = SqliteBackend(path)
    for _ in range(3):
        last = write_until_killed(path, first, acknowledged_at_least=7)

        if reopened_by == "writer":
            backend.open_store().close()
        reader = backend.open_reader()
        per_invoice: dict[str, int] = {}
        for row in reader.events():
            per_invoice[row.invoice_id] = per_invoice.get(row.invoice_id, 0) + 1
        invoices = {row.invoice_id for row in reader.invoices()}
        counts = reader.counts()
        reader.close()

        assert set(per_invoice.values()) == {EVENTS_PER_BATCH}
        assert {f"INV-{number}" for number in range(first, last + 1)} <= per_invoice.keys()
        assert len(per_invoice) in (last + 1, last + 2)
        assert invoices == per_invoice.keys()
        assert (counts.stored, counts.invoices) == (len(per_invoice) * EVENTS_PER_BATCH, len(invoices))
        first = len(per_invoice)


def test_commits_are_flushed_to_the_disk(tmp_path: Path) -> None:
    """A power cut must not take back rows whose offsets a broker elsewhere has committed: FULL (2), not NORMAL (1)."""
    connection = open_writer(tmp_path / "store.sqlite3")

    modes = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
    connection.close()

    assert modes == [2, "wal"]
