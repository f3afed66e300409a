"""A table that no longer fits: other limits, another changelog, damage found while in use."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import Event, instant
from bems_streams.domain.fold import fold
from bems_streams.domain.journey import Journey, Stage, StageCode
from bems_streams.flows.tracking import CurrentDeadlines
from bems_streams.ports import Change
from bems_streams.runtime.table import TablePartition
from tests.unit.table_kit import open_table

DAY_US = 86_400_000_000
START_US = 1_800_000_000_000_000
EVER = 2**62


def journey(ingestion_days: int | None, reconciliation_days: int | None = None) -> Journey:
    """Two stages with limits, and the one that closes."""
    days = {"ingestion": ingestion_days, "reconciliation": reconciliation_days, "posting": None}
    return Journey(
        tuple(
            Stage(name, StageCode(code), None if limit is None else limit * DAY_US)
            for code, (name, limit) in enumerate(days.items(), start=1)
        )
    )


def stored_under(limits: Journey, stage: str = "ingestion") -> tuple[bytes, int]:
    """An invoice that entered the stage at START_US, as a tracker with these limits stored it."""
    tracked = TrackedInvoice.new()
    event = Event(event_id="e", source="s", occurred_at=instant(START_US), invoice_id="i", stage=stage)
    fold(tracked.state, event, START_US, limits)
    tracked.deadline_us = tracked.state.deadline_us(limits) or 0
    return encode_tracked(tracked), tracked.deadline_us


def table_with(tmp_path: Path, limits: Journey) -> TablePartition:
    """One invoice, stored under these limits."""
    table = open_table(tmp_path, 0, CurrentDeadlines(limits))
    value, deadline_us = stored_under(limits)
    table.apply({b"i": Change(value, 0, deadline_us)}, 5)
    return table


@pytest.mark.parametrize(("before", "after"), [(5, 1), (1, 5), (None, 2), (2, None)])
def test_another_limit_reaches_invoices_that_stay_silent(tmp_path: Path, before: int | None, after: int | None) -> None:
    """Shorter, longer, new or dropped: after a restart the index says what today's catalogue says."""
    table_with(tmp_path, journey(before)).close()

    table = open_table(tmp_path, 0, CurrentDeadlines(journey(after)))

    expected_us = 0 if after is None else START_US + after * DAY_US
    assert table.due(EVER, 10) == ([b"i"] if after else [])
    assert table.due(expected_us - 1, 10) == []
    (value,) = table.get_many([b"i"])
    assert value is not None
    assert decode_tracked(value).deadline_us == expected_us
    assert table.changelog_offset == 5
    table.close()


def test_the_same_limits_rewrite_nothing(tmp_path: Path) -> None:
    """A restart with an unchanged catalogue does not go through the table."""
    table_with(tmp_path, journey(3)).close()

    class Unasked(CurrentDeadlines):
        def current(self, stored: bytes) -> tuple[bytes, int]:
            raise AssertionError("the table was gone through")

    table = open_table(tmp_path, 0, Unasked(journey(3)))

    assert table.due(EVER, 10) == [b"i"]
    table.close()


def test_what_is_restored_gets_todays_deadlines(tmp_path: Path) -> None:
    """A changelog written under other limits does not bring their deadlines back."""
    table = open_table(tmp_path, 0, CurrentDeadlines(journey(1)))
    value, _ = stored_under(journey(9))

    table.replay([(b"i", value)], 7)

    assert table.due(START_US + DAY_US, 10) == [b"i"]
    table.close()


def test_an_invoice_whose_alert_is_out_stays_out_of_the_index(tmp_path: Path) -> None:
    """It was named; a changed limit does not name it again."""
    limits = journey(1)
    value, _ = stored_under(limits)
    tracked = decode_tracked(value)
    tracked.note_alert(START_US + DAY_US)
    tracked.deadline_us = 0
    table = open_table(tmp_path, 0, CurrentDeadlines(limits))
    table.apply({b"i": Change(encode_tracked(tracked), 0, 0)}, 1)
    table.close()

    again = open_table(tmp_path, 0, CurrentDeadlines(journey(2)))

    assert again.due(EVER, 10) == []
    again.close()


@given(st.binary(max_size=40))
def test_bytes_that_are_no_state_have_no_deadline(garbage: bytes) -> None:
    """They stay as they are, and stop nobody from watching the others."""
    first = bytes([1, *garbage[1:]]) if garbage else garbage  # not of a later release, which does stop the worker

    assert CurrentDeadlines(journey(1)).current(first) == (first, 0)


def test_a_table_of_another_changelog_starts_empty(tmp_path: Path) -> None:
    """A cluster made anew under a kept folder must not mix old states with new ones."""
    table = open_table(tmp_path, 0)
    table.claim(b"topic-1")
    table.apply({b"i": Change(b"\x01", 0, 0)}, 5)
    table.claim(b"topic-1")
    assert table.changelog_offset == 5

    table.claim(b"topic-2")

    assert (table.changelog_offset, list(table.items())) == (0, [])
    table.claim(b"topic-2")
    table.close()


@pytest.mark.parametrize("read", [lambda t: t.get_many([b"i%d" % n for n in range(5000)]), lambda t: dict(t.items())])
def test_damage_found_while_in_use_is_healed_by_the_next_start(
    tmp_path: Path, read: Callable[[TablePartition], object]
) -> None:
    """A block that no longer reads ends the worker once, not at every start; it never looks like the end."""
    table = open_table(tmp_path, 0)
    for generation in range(1, 4):
        table.apply({b"i%d" % n: Change(bytes(400), 0, 0) for n in range(5000)}, generation)
    table.close()
    for file in (tmp_path / "000").glob("*.sst"):
        content = bytearray(file.read_bytes())
        half = len(content) // 2  # behind the positions, which are read at once
        content[half : half + 2000] = bytes(2000)
        file.write_bytes(content)

    damaged = open_table(tmp_path, 0)
    with pytest.raises(Exception, match="Corruption"):
        read(damaged)
    damaged.close()
    healed = open_table(tmp_path, 0)

    assert (healed.changelog_offset, healed.get_many([b"i1"])) == (0, [None])
    healed.close()
    again = open_table(tmp_path, 0)
    assert again.changelog_offset == 0
    again.close()


def test_limits_name_every_stage() -> None:
    """Any change of a limit, and a stage more or less, is noticed."""
    base = journey(1, 2)
    fewer = replace(base, stages=base.stages[1:])

    assert len({CurrentDeadlines(each).limits for each in (base, journey(2, 2), journey(1, None), fewer)}) == 4
    assert CurrentDeadlines(journey(1, 2)).limits == CurrentDeadlines(base).limits
