"""The per-invoice table on disk: all of an update or none, deadlines in order, the same after any restart."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bems_streams.domain.codec import NewerStateError, TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.ports import Change
from bems_streams.runtime.table import TablePartition
from tests.unit.flow_kit import MemoryTable
from tests.unit.table_kit import open_table

EVER = 2**63


def state(deadline_us: int = 0, revision: int = 1) -> bytes:
    """A stored invoice with this entry in the deadline index."""
    tracked = TrackedInvoice.new()
    tracked.deadline_us, tracked.revision = deadline_us, revision
    return encode_tracked(tracked)


def put(deadline_us: int = 0, old_us: int = 0, revision: int = 1) -> Change:
    """An invoice is written."""
    return Change(state(deadline_us, revision), old_us, deadline_us)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[TablePartition]:
    """An empty one."""
    partition = open_table(tmp_path, 7)
    yield partition
    partition.close()


def test_what_was_written_is_read(table: TablePartition) -> None:
    """In the order asked for, None for what is not there; any bytes are a key."""
    table.apply({b"a": put(revision=1), b"": put(revision=2), b"\xff\x00": put(revision=3)}, 9)

    assert table.get_many([b"\xff\x00", b"missing", b"a", b"", b"a"]) == [
        state(0, 3),
        None,
        state(0, 1),
        state(0, 2),
        state(0, 1),
    ]
    assert table.get_many([]) == []
    assert table.changelog_offset == 9


def test_a_later_write_replaces_and_none_deletes(table: TablePartition) -> None:
    """State and deadline go together."""
    table.apply({b"a": put(5), b"b": put(6)}, 2)

    table.apply({b"a": put(8, old_us=5, revision=2), b"b": Change(None, 6, 0)}, 4)

    assert table.get_many([b"a", b"b"]) == [state(8, 2), None]
    assert table.due(EVER, 10) == [b"a"]
    assert dict(table.items()) == {b"a": state(8, 2)}


def test_due_names_the_oldest_first_up_to_and_including_the_moment(table: TablePartition) -> None:
    """Numbers, not texts, decide the order; keys decide among equals; the limit cuts the youngest."""
    deadlines = {b"z": 9, b"y": 10, b"x": 255, b"w": 256, b"v": 256, b"u": 2**62}
    table.apply({key: put(deadline_us) for key, deadline_us in deadlines.items()}, 1)

    assert table.due(8, 10) == []
    assert table.due(9, 10) == [b"z"]
    assert table.due(256, 10) == [b"z", b"y", b"x", b"v", b"w"]
    assert table.due(256, 2) == [b"z", b"y"]
    assert table.due(EVER, 10)[-1] == b"u"
    assert table.due(-1000, 10) == table.due(0, 10) == []
    assert table.due(EVER, 0) == []


def test_what_became_due_long_ago_is_found_after_scans_that_found_nothing(table: TablePartition) -> None:
    """A scan begins where the last one ended; an entry that is put before that is not passed over."""
    table.apply({b"late": put(100)}, 1)
    assert (table.due(50, 10), table.due(99, 10)) == ([], [])

    table.apply({b"early": put(7)}, 2)

    assert table.due(99, 10) == [b"early"]
    assert table.due(99, 10) == [b"early"]
    assert table.due(100, 1) == [b"early"]
    table.apply({b"early": put(0, old_us=7)}, 3)
    assert (table.due(99, 10), table.due(100, 10)) == ([], [b"late"])


def test_an_earlier_moment_than_the_last_one_is_asked_for(table: TablePartition) -> None:
    """The moment up to which events are known goes back when partitions move."""
    table.apply({b"a": put(10), b"b": put(20)}, 1)
    assert table.due(30, 10) == [b"a", b"b"]

    assert table.due(15, 10) == [b"a"]
    assert table.due(9, 10) == []
    assert table.due(30, 10) == [b"a", b"b"]


def test_states_are_never_mistaken_for_deadlines(table: TablePartition) -> None:
    """Whatever invoices are called, an index entry is one that was written as such."""
    keys = [b"d", b"dddddddddddd", b"e", b"m:changelog", b"s", b"\x00" * 12]
    table.apply({key: put() for key in keys}, 3)

    assert table.due(EVER, 100) == []
    assert sorted(key for key, _ in table.items()) == sorted(keys)
    assert table.changelog_offset == 3


def test_a_deadline_moves(table: TablePartition) -> None:
    """Its old entry goes, also when it moves back, and one that stays is not lost."""
    table.apply({b"a": put(50)}, 1)
    table.apply({b"a": put(70, old_us=50)}, 2)
    assert table.due(69, 10) == []
    table.apply({b"a": put(20, old_us=70)}, 3)
    table.apply({b"a": put(20, old_us=20, revision=4)}, 4)
    assert table.due(20, 10) == [b"a"]
    table.apply({b"a": put(0, old_us=20)}, 5)
    assert table.due(EVER, 10) == []


def test_it_is_the_same_after_reopening(tmp_path: Path) -> None:
    """States, deadlines and the position in the changelog."""
    first = open_table(tmp_path, 0)
    first.apply({b"a": put(5), b"b": put(3)}, 11)
    first.close()

    again = open_table(tmp_path, 0)

    assert again.changelog_offset == 11
    assert again.due(EVER, 10) == [b"b", b"a"]
    assert dict(again.items()) == {b"a": state(5), b"b": state(3)}
    again.close()


def test_wiping_leaves_nothing_and_goes_on(table: TablePartition, tmp_path: Path) -> None:
    """A table that cannot be trusted starts empty, at the start of its changelog."""
    table.apply({b"a": put(5)}, 11)

    table.wipe()

    assert (table.changelog_offset, table.due(EVER, 10), dict(table.items())) == (0, [], {})
    table.apply({b"b": put(7)}, 2)
    assert (table.changelog_offset, dict(table.items())) == (2, {b"b": state(7)})
    assert [path.name for path in tmp_path.iterdir()] == ["007"]


@pytest.mark.parametrize("lost", ["*.sst", "MANIFEST*", "CURRENT"])
def test_a_damaged_table_starts_empty_and_is_rebuilt(tmp_path: Path, lost: str) -> None:
    """Its changelog is whole: nobody has to get up to delete a folder."""
    first = open_table(tmp_path, 0)
    first.apply({b"a": put(5)}, 11)
    first.close()
    for path in (tmp_path / "000").glob(lost):
        path.unlink()

    again = open_table(tmp_path, 0)

    assert (again.changelog_offset, again.due(EVER, 10), dict(again.items())) == (0, [], {})
    again.apply({b"b": put(7)}, 2)
    assert dict(again.items()) == {b"b": state(7)}
    again.close()


def test_a_removal_that_was_interrupted_is_finished(tmp_path: Path) -> None:
    """What is left of the old folder does not take the disk for ever."""
    (tmp_path / "000.removed").mkdir()
    (tmp_path / "000.removed" / "000042.sst").write_bytes(b"x")

    open_table(tmp_path, 0).close()

    assert [path.name for path in tmp_path.iterdir()] == ["000"]


def test_partitions_do_not_share_anything(tmp_path: Path) -> None:
    """One folder per number."""
    one, two = (
        open_table(tmp_path, 1),
        open_table(tmp_path, 11),
    )
    one.apply({b"a": put(5)}, 1)

    assert (two.get_many([b"a"]), two.due(EVER, 1), two.changelog_offset) == ([None], [], 0)
    one.close()
    two.close()


def test_a_table_is_never_open_twice(tmp_path: Path) -> None:
    """Two writers would each believe their own position. The second one does not harm the first."""
    first = open_table(tmp_path, 7)
    first.apply({b"a": put(5)}, 1)

    with pytest.raises(Exception, match=r"(?i)lock"):
        open_table(tmp_path, 7)

    assert (tmp_path / "007" / "CURRENT").exists()
    first.apply({b"b": put(6)}, 2)
    first.close()
    again = open_table(tmp_path, 7)
    assert dict(again.items()) == {b"a": state(5), b"b": state(6)}
    again.close()


# ---------------------------------------------------------------------------------------------------------- replay


def test_replay_brings_state_deadlines_and_position(table: TablePartition) -> None:
    """From the changelog alone: the last record of a key counts, a tombstone deletes."""
    table.apply({b"a": put(5), b"b": put(6), b"c": put(7)}, 3)

    table.replay([(b"a", state(50)), (b"b", None), (b"d", state(1)), (b"a", state(40, 2)), (b"d", state(0, 2))], 8)

    assert dict(table.items()) == {b"a": state(40, 2), b"c": state(7), b"d": state(0, 2)}
    assert table.due(EVER, 10) == [b"c", b"a"]
    assert table.changelog_offset == 8


def test_replaying_what_is_applied_already_changes_nothing(table: TablePartition) -> None:
    """A restore may begin too early, never too late."""
    records = [(b"a", state(5)), (b"b", state(0)), (b"a", state(9, 2))]
    table.replay(records, 3)
    before = (dict(table.items()), table.due(EVER, 10))

    table.replay(records, 3)

    assert (dict(table.items()), table.due(EVER, 10)) == before


def test_bytes_that_are_no_state_are_kept_and_keep_nobody_else_from_being_restored(table: TablePartition) -> None:
    """A worker that could not start because of one invoice would lose sight of all; they have no deadline."""
    table.replay([(b"bad", b"\x01garbage"), (b"good", state(5))], 2)
    assert (table.get_many([b"bad"]), table.due(EVER, 10)) == ([b"\x01garbage"], [b"good"])

    table.replay([(b"bad", state(3))], 3)
    assert table.due(EVER, 10) == [b"bad", b"good"]

    table.replay([(b"bad", b"")], 4)
    assert table.due(EVER, 10) == [b"good"]


def test_a_state_of_a_later_release_is_not_restored_over(table: TablePartition) -> None:
    """After a rollback nothing is applied: the newer release must come back."""
    with pytest.raises(NewerStateError):
        table.replay([(b"a", state(5)), (b"b", b"\x63newer")], 2)

    assert (table.changelog_offset, dict(table.items())) == (0, {})


# -------------------------------------------------------------------------------- any history, compared with memory

keys = st.sampled_from([b"a", b"b", b"c", b"ab"])
deadlines_us = st.sampled_from([0, 1, 2, 255, 256, 2**40])
updates = st.dictionaries(keys, st.none() | deadlines_us, max_size=4)
operations = st.lists(st.tuples(st.sampled_from(["apply", "replay", "reopen", "wipe"]), updates), max_size=25)


@given(operations)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_history_gives_what_the_table_in_memory_gives(
    tmp_path_factory: pytest.TempPathFactory, history: Sequence[tuple[str, Mapping[bytes, int | None]]]
) -> None:
    """Which is also what justifies the table that other tests use."""
    folder, memory, offset = tmp_path_factory.mktemp("table"), MemoryTable(), 0
    disk = open_table(folder, 0)
    for revision, (what, update) in enumerate(history):
        values = {key: None if us is None else state(us, revision) for key, us in update.items()}
        offset += len(values)
        old = dict(zip(values, memory.get_many(0, list(values)), strict=True))
        changes = {
            key: Change(
                values[key], decode_tracked(stored).deadline_us if (stored := old[key]) else 0, update[key] or 0
            )
            for key in values
        }
        match what:
            case "wipe":
                disk.wipe()
                memory, offset = MemoryTable(), 0
            case "reopen":
                disk.close()
                disk = open_table(folder, 0)
                offset = disk.changelog_offset
            case "apply":
                disk.apply(changes, offset)
                memory.apply(0, changes, offset)
            case "replay":
                disk.replay(list(values.items()), offset)
                memory.apply(0, changes, offset)
        assert dict(disk.items()) == memory.states[0]
        assert disk.changelog_offset == memory.ends[0] == offset
        for until_us in (0, 1, 255, EVER):
            assert disk.due(until_us, 10) == memory.due(0, until_us, 10)
    disk.close()


# ------------------------------------------------------------------------------------------------------------ kill -9

WRITER = """
import sys
from pathlib import Path
from tests.unit.test_table import KEYS, open_table, put

table = open_table(Path(sys.argv[1]), 0)
for number in range(table.changelog_offset + 1, 10**9):
    table.apply({key: put(number, old_us=number - 1, revision=number) for key in KEYS}, number)
    print(number, flush=True)
"""
KEYS = [b"INV-%d" % number for number in range(300)]


def test_kill_9_in_the_middle_of_writing_leaves_all_of_an_update_or_none(tmp_path: Path) -> None:
    """Three times over: every acknowledged update is there, all states, deadlines and the position agree."""
    last = 0
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(25):
                last = int(child.stdout.readline())
            child.kill()
            rest = [int(line) for line in child.stdout if line.endswith("\n")]
        last = rest[-1] if rest else last

        table = open_table(tmp_path, 0)
        offset = table.changelog_offset
        assert offset in (last, last + 1)
        assert dict(table.items()) == dict.fromkeys(KEYS, state(offset, offset))
        assert table.due(offset - 1, 10_000) == []
        assert sorted(table.due(offset, 10_000)) == sorted(KEYS)
        table.close()
        last = offset
