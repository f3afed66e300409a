"""Filling an empty table from its changelog: the same as applying record by record, whenever it is interrupted."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bems_streams.domain.codec import NewerStateError, decode_tracked, encode_tracked
from bems_streams.runtime.table import TablePartition
from tests.unit.flow_kit import AsStored
from tests.unit.table_kit import open_table
from tests.unit.test_table import EVER, state

RECORDS = 400
CHUNK = 1_000
DIGESTS = [2**63 + n for n in range(60)]


def large(deadline_us: int) -> bytes:
    """A stored invoice with many events: some chunks of them make RocksDB write a file."""
    tracked = decode_tracked(state(deadline_us))
    tracked.state.seen = DIGESTS
    return encode_tracked(tracked)


def contents(table: TablePartition) -> tuple[dict[bytes, bytes], list[bytes], int]:
    """States, invoices by deadline, position."""
    return dict(table.items()), table.due(EVER, 10**6), table.changelog_offset


histories = st.lists(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.integers(0, 2**40)), max_size=4), max_size=6
)


@given(histories, st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_filled_table_is_what_replaying_gives(
    tmp_path_factory: pytest.TempPathFactory,
    history: Sequence[Sequence[tuple[bytes, int | None]]],
    closed_after: int,
    filled: int,
) -> None:
    """The last record of a key counts, tombstones delete, and what follows the filling is applied on top of it."""
    folder = tmp_path_factory.mktemp("filled")
    replayed, table, offset = open_table(folder, 0), open_table(folder, 1), 0
    table.begin_filling()
    for number, chunk in enumerate(history):
        if number == filled:
            table.end_filling()
        if number == closed_after:
            table.close()
            table = open_table(folder, 1)
        offset += len(chunk)
        records = [(key, None if us is None else state(us, number)) for key, us in chunk]
        replayed.replay(records, offset)
        table.replay(records, offset)
    table.end_filling()

    assert contents(table) == contents(replayed)
    table.close()
    replayed.close()


def test_nobody_works_on_a_table_that_is_being_filled(tmp_path: Path) -> None:
    """Its deadlines are not known yet."""
    table = open_table(tmp_path)
    table.begin_filling()
    table.replay([(b"a", state(5))], 1)

    with pytest.raises(AssertionError, match="not worked on"):
        table.apply({}, 2)
    with pytest.raises(AssertionError, match="not worked on"):
        table.due(EVER, 10)

    table.end_filling()
    assert contents(table) == ({b"a": state(5)}, [b"a"], 1)
    table.close()


def test_a_state_of_a_later_release_ends_the_filling(tmp_path: Path) -> None:
    """After a rollback nothing is applied: the newer release must come back."""
    table = open_table(tmp_path)
    table.begin_filling()

    with pytest.raises(NewerStateError, match="newer release"):
        table.replay([(b"a", state(5)), (b"b", b"\x63newer")], 2)

    assert (table.changelog_offset, dict(table.items())) == (0, {})
    table.close()


FILLER = """
import sys
from pathlib import Path
from tests.unit.test_table_filling import CHUNK, chunk
from tests.unit.table_kit import open_table

table = open_table(Path(sys.argv[1]))
table.begin_filling()
for number in range(table.changelog_offset // CHUNK, 10**9):
    table.replay(chunk(number), (number + 1) * CHUNK)
    print(number, flush=True)
"""


def chunk(number: int) -> list[tuple[bytes, bytes | None]]:
    """Some keys of their own, some that come again, some deleted."""
    own = [(b"own-%d-%d" % (number, n), large(number * CHUNK + n + 1)) for n in range(CHUNK - 2)]
    return [*own, (b"again", state(number + 1)), (b"own-%d-0" % (number // 2), None)]


def expected(chunks: int) -> dict[bytes, bytes]:
    """All states after that many chunks."""
    states: dict[bytes, bytes | None] = {}
    for number in range(chunks):
        states.update(chunk(number))
    return {key: value for key, value in states.items() if value is not None}


def test_kill_9_in_the_middle_of_filling_leaves_all_up_to_a_position(tmp_path: Path) -> None:
    """Nothing is logged while filling; the position still says exactly what is there, and filling goes on from it."""
    reached = 0
    for chunks in (25, 50):
        command = [sys.executable, "-c", FILLER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            while int(child.stdout.readline()) < chunks:
                pass
            child.kill()

        table = open_table(tmp_path)
        assert reached <= table.changelog_offset
        assert table.changelog_offset % CHUNK == 0
        reached = table.changelog_offset
        assert dict(table.items()) == expected(reached // CHUNK)
        table.close()
    assert reached, "nothing was kept at all: the buffers are larger than what was filled"

    table = open_table(tmp_path)
    table.begin_filling()
    table.replay(chunk(reached // CHUNK), reached + CHUNK)
    table.end_filling()
    states, due, offset = contents(table)
    assert (states, offset) == (expected(offset // CHUNK), reached + CHUNK)
    assert due == sorted(states, key=lambda key: (decode_tracked(states[key]).deadline_us, key))
    table.close()


class Dying(AsStored):
    """Yesterday's limits, under which the process dies in the middle."""

    limits = b"yesterday"

    def __init__(self, calls: int) -> None:
        self._calls = calls

    def current(self, stored: bytes) -> tuple[bytes, int]:
        """See runtime.table.Deadlines."""
        self._calls -= 1
        if not self._calls:
            os._exit(9)
        return stored, 7


DYING = """
import sys
from pathlib import Path
from bems_streams.runtime import table as table_module
from tests.unit.table_kit import open_table
from tests.unit.test_table import state
from tests.unit.test_table_filling import RECORDS, Dying

table_module.INDEX_CHANGES = 10
table = open_table(Path(sys.argv[1]), 0, Dying(int(sys.argv[2])))
table.begin_filling()
table.replay([(b"%d" % n, state(100 + n)) for n in range(RECORDS)], RECORDS)
table.close()
table = open_table(Path(sys.argv[1]), 0, Dying(int(sys.argv[2])))
table.end_filling()
"""


@pytest.mark.parametrize("calls", [1, RECORDS // 2, RECORDS])
def test_dying_while_the_index_is_made_leaves_nothing_of_it(tmp_path: Path, calls: int) -> None:
    """Made again from the start, under the limits of the new start."""
    command = [sys.executable, "-c", DYING, str(tmp_path), str(calls)]
    assert subprocess.run(command, check=False).returncode == 9

    table = open_table(tmp_path)
    table.end_filling()

    assert table.due(99, RECORDS) == []
    assert table.due(EVER, RECORDS) == [b"%d" % n for n in range(RECORDS)]
    table.close()
    again = open_table(tmp_path)
    assert len(again.due(EVER, RECORDS)) == RECORDS
    again.close()
