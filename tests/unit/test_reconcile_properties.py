"""Any single damage to rows or ledger is named, and nothing else is; what moves meanwhile is never called damage."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bems_streams.adapters.memory_reader import MemoryReader
from bems_streams.flows.ledger.coverage import Coverage, together
from bems_streams.flows.ledger.findings import Kind
from bems_streams.flows.ledger.spans import LOOKS
from bems_streams.flows.reconcile import Look, Reconciler, Scope
from bems_streams.ports import Coordinates, Extent, RecordOutcome, Span
from tests.unit.ledger_kit import POISON, SINK, STAGE_OF, TRACKER, World, named

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["event", "copy", "poison", "waits", "marker", "handle", "second", "minute", "hour"]),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=40,
)


def lived_through(steps: Sequence[tuple[str, int]]) -> tuple[World, list[Coordinates]]:
    """A cell after these steps, everything handled; and where its records are."""
    world, waits, accepted = World(), dict[str, RecordOutcome](), list[Coordinates]()
    for number, (step, partition) in enumerate(steps):
        if step == "handle":
            world.handle(**waits)
        elif step == "marker":
            world.log.mark(("invoices.ingestion", partition), world.clock.us)
        elif step in {"second", "minute", "hour"}:
            world.pass_seconds({"second": 1, "minute": 60, "hour": 3_600}[step])
        elif step == "poison":
            accepted.append(world.accept_bytes(POISON, partition))
        else:
            if step == "waits":
                waits[f"E-{number}"] = RecordOutcome.RETRYING
            name = "E-copy" if step == "copy" else f"E-{number}"
            accepted.append(world.accept(name, f"{number}.01", partition=partition))
    world.handle(**waits)
    return world, accepted


@given(STEPS, st.data(), st.sampled_from(Look))
def test_any_single_row_that_is_deleted_is_named_and_nothing_else(
    steps: list[tuple[str, int]], data: st.DataObject, look: Look
) -> None:
    """By receipt, whatever else happened; without the damage nothing is wrong."""
    world, accepted = lived_through(steps)
    clean = world.reconciler.verify(look=look)
    assert (named(clean), clean.closed) == ([], True)
    if not accepted:
        return
    victim = data.draw(st.sampled_from(accepted))

    world.delete_row(victim)
    result = Reconciler(world.log, world.reader, world.clock, Scope(STAGE_OF, 2, [SINK, TRACKER])).verify(look=look)

    assert [(f.kind, f.agent, f[2:5]) for f in result.findings] == [(Kind.MISSING, "sink", victim)]


@given(STEPS, st.data(), st.sampled_from([SINK.agent, TRACKER.agent]))
def test_any_single_ledger_entry_that_is_deleted_is_named_and_nothing_else(
    steps: list[tuple[str, int]], data: st.DataObject, agent: str
) -> None:
    """By the range of its offsets, within the promised time; the records in it are those that lack an account."""
    world, accepted = lived_through(steps)
    if not accepted:
        return
    victim = data.draw(st.sampled_from(accepted))
    world.pass_seconds(121)
    entries = world.reader.ledger(agent, 0, 2**62)
    entry = next(e for e in entries if e[1:3] == victim[:2] and e.first_offset <= victim.offset < e.next_offset)

    world.delete_entry(agent, victim)
    result = world.reconciler.verify()

    within = [at for at in accepted if at[:2] == victim[:2] and entry.first_offset <= at.offset < entry.next_offset]
    said = [found for found in result.findings if found.agent == agent]
    covered = {offset for found in said for offset in range(found.first_offset, found.next_offset)}
    assert {at.offset for at in within} <= covered
    assert covered <= set(range(entry.first_offset - 40, entry.next_offset + 40))
    assert {found[2:4] for found in said} == {victim[:2]}
    assert [found for found in result.findings if found.agent != agent] == []
    if agent == TRACKER.agent:
        lacking = {f.first_offset for f in said if f.kind in {Kind.MISSING, Kind.OVERDUE} and f.records == 1}
        assert lacking == {at.offset for at in within}


class RestlessReader(MemoryReader):
    """A lane brings a record back whenever the rows have been counted, so that the ledger read before is old."""

    def __init__(self, world: World, moves: list[Coordinates]) -> None:
        super().__init__(world.tables)
        self._world = world
        self._moves = moves

    def ledger(self, agent: str, since_us: int, until_us: int) -> Sequence[Span]:
        """Then something moves."""
        found = super().ledger(agent, since_us, until_us)
        if self._moves:
            self._world.redeliver(self._moves.pop())
        return found


@given(st.integers(1, 30))
def test_records_that_lanes_bring_back_meanwhile_are_no_finding(waiting: int) -> None:
    """The ledger that was read is older than the rows: only what holds still is judged."""
    world = World()
    places = [world.accept(f"E-{number}") for number in range(waiting)]
    world.handle(**{f"E-{number}": RecordOutcome.RETRYING for number in range(waiting)})
    reader = RestlessReader(world, places)

    result = Reconciler(world.log, reader, world.clock, Scope(STAGE_OF, 2, [SINK, TRACKER])).verify()

    assert named(result) == []
    moved_during_every_look = waiting > 1 + 2 * (LOOKS - 1)  # one before the first, two in each
    assert result.unsettled == moved_during_every_look


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12))), st.integers(0, 70), st.integers(0, 70))
def test_coverage_knows_each_offset(ranges: list[tuple[int, int]], start: int, end: int) -> None:
    """Against a plain set of numbers, in whatever order ranges come."""
    coverage, plain = Coverage(), set[int]()
    for first, length in ranges:
        new = set(range(first, first + length))
        twice = coverage.add(first, first + length)
        assert (twice is not None) == bool(new & plain)
        assert twice is None or set(range(*twice)) <= new & plain
        plain |= new

    gaps = list(coverage.gaps(start, end))

    assert {offset for gap in gaps for offset in range(*gap)} == set(range(start, end)) - plain
    assert all(gap.start < gap.end for gap in gaps)
    assert coverage.start == min(plain, default=None)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9))), st.integers(0, 20))
def test_ranges_that_are_read_together_leave_nothing_out(ranges: list[tuple[int, int]], within: int) -> None:
    """Far ones stay apart, so that what lies between is not read."""
    given_ranges = [Extent(first, first + length) for first, length in ranges]

    joined = together(given_ranges, within)

    asked = {offset for extent in given_ranges for offset in range(*extent)}
    read = {offset for extent in joined for offset in range(*extent)}
    assert asked <= read
    assert all(later.start - earlier.end > within for earlier, later in pairwise(joined))
