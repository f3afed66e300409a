"""What every store takes over from agents that have no store of their own. Runs on each store of the registry."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bems_streams.adapters.stores import STORES, Backend, backend_of
from bems_streams.ports import MINUTE_US, Account, Note, RecordOutcome, Span, StoreBatch
from tests.contract.by_hand import delete_span
from tests.contract.conftest import Pair, fresh
from tests.contract.rows import MINUTE, NOW_US, SECOND_US, at, dead_letter, event, handled, span

STORED, DUPLICATE, DEAD_LETTERED, RETRYING = RecordOutcome


def note(offset: int, outcome: RecordOutcome, attempts: int = 0, noted_us: int = NOW_US) -> Note:
    """What became of the record at `offset`; when it waits, for five seconds more."""
    due_us = noted_us + 5 * SECOND_US if outcome is RETRYING else 0
    return Note(at(offset), outcome, NOW_US, noted_us, "unfoldable", "full", attempts, due_us, "INV-1", f"e-{offset}")


def account(*parts: Span | Note) -> Account:
    """Of the tracker."""
    spans = [part for part in parts if isinstance(part, Span)]
    return Account("tracker", spans, [part for part in parts if isinstance(part, Note)])


def tracked(first: int, until: int, *counts: int) -> Span:
    """`counts`: stored, duplicates, dead_lettered, retrying; those left out are 0."""
    return span(first, until, *counts)._replace(agent="tracker")


def take(pair: Pair, *accounts: Account) -> None:
    for each in accounts:
        pair.store.write(StoreBatch(accounts=[each]))


def ledger(pair: Pair) -> Sequence[Span]:
    return list(pair.reader.ledger("tracker", 0, 2 * NOW_US))


def noted(pair: Pair) -> list[tuple[int, str, str]]:
    """(offset, agent, kind) of every note."""
    letters = [(row.at.offset, row.agent, "dead letter") for row in pair.reader.dead_letters()]
    return sorted(letters + [(row.at.offset, row.agent, "retry") for row in pair.reader.retrying()])


def test_an_account_becomes_spans_and_notes(pair: Pair) -> None:
    """Field by field; its span counts its own notes already."""
    take(
        pair,
        account(tracked(0, 5, 3, 0, 1, 1), note(1, DEAD_LETTERED, noted_us=NOW_US + 7), note(2, RETRYING, attempts=2)),
    )

    assert ledger(pair) == [tracked(0, 5, 3, 0, 1, 1)]
    (letter,), (waiting,) = pair.reader.dead_letters(), pair.reader.retrying()
    assert letter == (at(1), "tracker", "unfoldable", "full", NOW_US, NOW_US + 7, "INV-1", "e-1", None, None)
    times = (2, NOW_US + 5 * SECOND_US, NOW_US, NOW_US)
    assert waiting == (at(2), "tracker", "unfoldable", "full", *times, "INV-1", "e-2", None, None)
    assert pair.reader.ledger_positions("tracker") == {("invoices.ingestion", 0): 5}


def test_spans_that_follow_within_the_minute_become_one(pair: Pair) -> None:
    """The next minute, another partition and what comes after a gap do not."""
    later = tracked(4, 6, 2)._replace(minute_us=MINUTE + MINUTE_US)
    beside, beyond = tracked(2, 4, 2)._replace(partition=1), tracked(9, 10, 1)._replace(minute_us=MINUTE + MINUTE_US)

    take(pair, account(tracked(0, 2, 1, 1), beside), account(tracked(2, 4, 2), later), account(beyond))

    assert ledger(pair) == [tracked(0, 4, 3, 1), later, beyond, beside]


def test_an_account_again_changes_nothing(pair: Pair) -> None:
    """The topic it comes by is read at least once; also what came in between stays."""
    first = account(tracked(0, 3, 1, 0, 1, 1), note(0, DEAD_LETTERED), note(1, RETRYING, attempts=1))
    later = account(tracked(3, 4, 1), note(0, STORED), note(1, DEAD_LETTERED, noted_us=NOW_US + 9 * SECOND_US))
    take(pair, first, later)
    before = ledger(pair), noted(pair)

    take(pair, later, first, first, later)

    assert (ledger(pair), noted(pair)) == before == ([tracked(0, 4, 3, 0, 1)], [(1, "tracker", "dead letter")])


@pytest.mark.parametrize("outcome", [STORED, DUPLICATE])
@pytest.mark.parametrize("was", [RETRYING, DEAD_LETTERED])
def test_a_note_from_a_lane_settles_the_record(pair: Pair, was: RecordOutcome, outcome: RecordOutcome) -> None:
    """Its row goes and its count moves, once."""
    take(pair, account(tracked(0, 2, 1, 0, was is DEAD_LETTERED, was is RETRYING), note(1, was)))

    settled = account(note(1, outcome))
    take(pair, settled, settled)

    assert ledger(pair) == [tracked(0, 2, 1 + (outcome is STORED), int(outcome is DUPLICATE))]
    assert noted(pair) == []


def test_a_record_may_wait_be_given_up_and_wait_again(pair: Pair) -> None:
    """Each step replaces the note of the one before; an earlier one that comes again does not."""
    steps = [
        account(tracked(0, 1, 0, 0, 0, 1), note(0, RETRYING, 1)),
        account(note(0, RETRYING, 2, NOW_US + 10 * SECOND_US)),
        account(note(0, DEAD_LETTERED, 3, NOW_US + 20 * SECOND_US)),
        account(note(0, RETRYING, 1, NOW_US + 30 * SECOND_US)),
    ]
    seen = []
    for number, step in enumerate(steps):
        take(pair, step, *steps[: max(number - 1, 0)], step)
        seen.append((ledger(pair)[0][6:10], [row.attempts for row in pair.reader.retrying()]))

    assert seen == [((0, 0, 0, 1), [1]), ((0, 0, 0, 1), [2]), ((0, 0, 1, 0), []), ((0, 0, 0, 1), [1])]


def test_a_span_that_comes_again_does_not_bring_its_notes_back(pair: Pair) -> None:
    """What was noted since is newer, although a dead letter usually ends a wait."""
    first = account(tracked(0, 1, 0, 0, 1), note(0, DEAD_LETTERED))
    take(pair, first, account(note(0, RETRYING, 1)))

    take(pair, first)

    assert (ledger(pair), noted(pair)) == ([tracked(0, 1, 0, 0, 0, 1)], [(0, "tracker", "retry")])


def test_a_note_belongs_to_the_span_of_its_own_topic(pair: Pair) -> None:
    """An account is about one partition number of several topics."""
    elsewhere = tracked(0, 1, 1)._replace(topic="invoices.posting")
    take(pair, account(tracked(0, 1, 0, 0, 0, 1), elsewhere, note(0, RETRYING, 1)))

    take(pair, account(elsewhere, note(0, STORED)))

    assert (ledger(pair), noted(pair)) == ([tracked(0, 1, 1), elsewhere], [])


def test_an_account_does_not_touch_the_sinks_own(pair: Pair) -> None:
    """Nor the other way round: each agent settles for itself."""
    pair.store.write(StoreBatch(events=[event(offset=0)], handled=[handled(0, 1)]))
    before = list(pair.reader.ledger("sink", 0, 2 * NOW_US))

    take(pair, account(tracked(0, 1, 0, 0, 1), note(0, DEAD_LETTERED)), account(note(0, STORED)))

    assert list(pair.reader.ledger("sink", 0, 2 * NOW_US)) == before
    assert pair.reader.counts().dead_lettered == 0
    assert ledger(pair) == [tracked(0, 1, 1)]


def test_a_note_that_its_span_does_not_count_goes_without_moving_anything(pair: Pair) -> None:
    """Whoever changed the store by hand is told by verification; counts below zero would only hide it."""
    pair.store.write(StoreBatch(dead_letters=[dead_letter(0, agent="tracker")]))
    take(pair, account(tracked(0, 1, 1)))

    take(pair, account(note(0, DUPLICATE)))

    assert (ledger(pair), noted(pair)) == ([tracked(0, 1, 1)], [])


def test_a_span_that_was_lost_comes_back_with_a_replay(pair: Pair) -> None:
    """Reading the ledger's topic again heals it, and leaves its neighbours as they are."""
    accounts = [account(tracked(n, n + 1, 1)._replace(minute_us=MINUTE + n * MINUTE_US)) for n in range(3)]
    take(pair, *accounts)
    before = ledger(pair)
    delete_span(pair.backend, before[1])

    take(pair, *accounts)

    assert ledger(pair) == before


def test_a_span_that_is_covered_in_part_is_left_out(pair: Pair) -> None:
    """Nobody can tell which of its counts belong to the rest: the gap stays visible."""
    take(pair, account(tracked(0, 4, 4)))

    take(pair, account(tracked(2, 6, 4)))

    assert ledger(pair) == [tracked(0, 4, 4)]


@st.composite
def histories(draw: st.DrawFn) -> list[Account]:
    """What a tracker publishes: consecutive spans with their notes, and later what became of those."""
    accounts, offset, open_notes, now_us = [], 0, dict[int, tuple[RecordOutcome, int]](), NOW_US
    for _ in range(draw(st.integers(1, 8))):
        now_us += 60 * SECOND_US
        parts: list[Span | Note] = []
        for known in sorted(open_notes):
            became = draw(st.sampled_from([None, STORED, DUPLICATE, DEAD_LETTERED, RETRYING]))
            was, attempts = open_notes[known]
            if became is None or (became is was is DEAD_LETTERED):
                continue
            parts.append(note(known, became, attempts + 1, now_us))
            if became in (STORED, DUPLICATE):
                del open_notes[known]
            else:
                open_notes[known] = (became, 0 if was is DEAD_LETTERED else attempts + 1)
        outcomes = draw(st.lists(st.sampled_from(RecordOutcome), max_size=4))
        if outcomes:
            minute_us = MINUTE + draw(st.integers(0, 1)) * MINUTE_US
            counts = [outcomes.count(outcome) for outcome in RecordOutcome]
            parts.append(tracked(offset, offset + len(outcomes), *counts)._replace(minute_us=minute_us))
        for place, outcome in enumerate(outcomes, offset):
            if outcome in (DEAD_LETTERED, RETRYING):
                parts.append(note(place, outcome, 1, now_us))
                open_notes[place] = (outcome, 1)
        offset += len(outcomes)
        accounts.append(account(*parts))
    return accounts


@st.composite
def readings(draw: st.DrawFn) -> tuple[list[Account], list[list[Account]]]:
    """A history and how its topic was read: cut anywhere, rewound any number of times, at last to its end."""
    history = draw(histories())
    batches: list[list[Account]] = []
    for _ in range(draw(st.integers(0, 3))):
        batches += _cut(draw, history[: draw(st.integers(0, len(history)))])
    return history, batches + list(_cut(draw, history))


def _cut(draw: st.DrawFn, history: list[Account]) -> Iterator[list[Account]]:
    places = sorted({0, len(history), *draw(st.lists(st.integers(0, len(history)), max_size=3))})
    return (history[first:until] for first, until in pairwise(places))


def _content(backend: Backend, batches: Sequence[Sequence[Account]]) -> tuple[object, ...]:
    store, reader = backend.open_store(), backend.open_reader()
    for batch in batches:
        store.write(StoreBatch(accounts=batch))
    seen = (list(reader.ledger("tracker", 0, 2 * NOW_US)), list(reader.dead_letters()), list(reader.retrying()))
    store.close()
    reader.close()
    return seen


@pytest.mark.parametrize("scheme", sorted(STORES))
@settings(max_examples=80, deadline=None)
@given(reading=readings())
def test_any_reading_of_the_accounts_gives_what_one_pass_gives(
    scheme: str, reading: tuple[list[Account], list[list[Account]]]
) -> None:
    """And what the tracker said last of each record is what counts: as many notes of a kind as the spans count."""
    history, batches = reading
    with fresh(scheme) as backend:
        found = _content(backend, batches)

    assert found == _content(backend_of("memory:"), [[each] for each in history])
    spans, letters, retrying = found
    assert isinstance(spans, list)
    last = {note.at: note.outcome for each in history for note in sorted(each.notes, key=lambda note: note.noted_us)}
    assert sum(row.dead_lettered for row in spans) == list(last.values()).count(DEAD_LETTERED)
    assert sum(row.retrying for row in spans) == list(last.values()).count(RETRYING)
    assert sum(row.accepted for row in spans) == max((row.next_offset for row in spans), default=0)
    assert isinstance(letters, list)
    assert isinstance(retrying, list)
    assert {row.at for row in letters} == {place for place, outcome in last.items() if outcome is DEAD_LETTERED}
    assert {row.at for row in retrying} == {place for place, outcome in last.items() if outcome is RETRYING}
