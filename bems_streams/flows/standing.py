"""From what the store knows of a record to its standing. Pure.

Not here: asking store and log (resolve.py).
"""

import shlex
from collections.abc import Iterator
from typing import Final

from bems_streams.domain.event import instant
from bems_streams.domain.standing import AgentNote, Standing, State, StoredFirst
from bems_streams.domain.views import duration_text
from bems_streams.flows.receipt import Receipt, receipt_text
from bems_streams.ports import STORE_AGENT, DeadLetterRow, DuplicateRow, EventRow, Fate, RetryRow

MISSING_ADVICE: Final = "run `bems ledger verify`, which names all that is missing, and tell those who run the cell"


def of_rows(receipt: Receipt, fate: Fate, accounted: int) -> Standing | None:
    """None when there is no row of the record. `accounted`: the offset after the last that the sink accounts for."""
    notes = tuple(_notes(receipt, fate))
    if fate.duplicate is not None:
        return _duplicate(receipt, fate.duplicate, fate.event, notes)
    if fate.event is not None:
        return _stored(receipt, fate.event, notes)
    rows: list[DeadLetterRow | RetryRow] = [*fate.dead_letters, *fate.retrying]
    if not rows:
        return None
    row = rows[0]
    if notes[0].agent != STORE_AGENT:
        if receipt.at.offset < accounted:
            return missing(
                receipt, row.accepted_us, "the ledger says that it was handled, and no row is left of it", notes
            )
        return accepted(receipt, row.accepted_us, accounted, notes)
    return Standing(
        receipt=_text(receipt),
        state=notes[0].state,
        detail=_set_aside(notes[0]),
        accepted_at=instant(row.accepted_us),
        invoice_id=row.invoice_id,
        event_id=row.event_id,
        agents=notes,
    )


def accepted(
    receipt: Receipt, accepted_us: int | None, accounted: int | None, notes: tuple[AgentNote, ...] = ()
) -> Standing:
    """Durable in the log; the sink comes to it. `accounted` None: there is no store yet."""
    ahead = receipt.at.offset - (accounted or 0)
    before = f"{ahead:,} offsets of its partition come first" if ahead > 0 else "it is next"
    if accounted is None:
        before = "there is no store yet"
    return Standing(
        receipt=_text(receipt),
        state=State.ACCEPTED,
        detail=f"durable; the {STORE_AGENT} has not handled it yet: {before}",
        accepted_at=None if accepted_us is None else instant(accepted_us),
        agents=notes,
    )


def missing(receipt: Receipt, accepted_us: int | None, why: str, notes: tuple[AgentNote, ...] = ()) -> Standing:
    """Accepted, and nowhere: the one thing that must not happen."""
    return Standing(
        receipt=_text(receipt),
        state=State.MISSING,
        detail=f"{why}: {MISSING_ADVICE}",
        accepted_at=None if accepted_us is None else instant(accepted_us),
        agents=notes,
    )


def _stored(receipt: Receipt, row: EventRow, notes: tuple[AgentNote, ...]) -> Standing:
    return Standing(
        receipt=_text(receipt),
        state=State.STORED,
        detail=f"stored {duration_text(row.stored_us - row.accepted_us)} after its acceptance",
        accepted_at=instant(row.accepted_us),
        stored_at=instant(row.stored_us),
        invoice_id=row.invoice_id,
        event_id=row.event_id,
        agents=notes,
    )


def _duplicate(receipt: Receipt, row: DuplicateRow, event: EventRow | None, notes: tuple[AgentNote, ...]) -> Standing:
    first = None if event is None else _first(receipt.cell, event)
    counted = "the row of the one stored first is gone: run `bems ledger verify`" if first is None else "it counts once"
    return Standing(
        receipt=_text(receipt),
        state=State.DUPLICATE,
        detail=f"event {row.event_id} of invoice {row.invoice_id} was stored already; {counted}",
        accepted_at=instant(row.accepted_us),
        invoice_id=row.invoice_id,
        event_id=row.event_id,
        duplicate_of=first,
        agents=notes,
    )


def _first(cell: str, row: EventRow) -> StoredFirst:
    return StoredFirst(
        receipt=receipt_text(cell, row.at), accepted_at=instant(row.accepted_us), stored_at=instant(row.stored_us)
    )


def _notes(receipt: Receipt, fate: Fate) -> Iterator[AgentNote]:
    """The storing agent first, then by name."""
    dead = [_dead_letter_note(receipt, row) for row in fate.dead_letters]
    waiting = [_retry_note(row) for row in fate.retrying]
    yield from sorted((*dead, *waiting), key=lambda note: (note.agent != STORE_AGENT, note.agent))


def _dead_letter_note(receipt: Receipt, row: DeadLetterRow) -> AgentNote:
    return AgentNote(
        agent=row.agent,
        state=State.DEAD_LETTERED,
        code=row.code,
        reason=row.reason,
        noted_at=instant(row.stored_us),
        show=shlex.join(["bems", "dlq", "show", _text(receipt), "--agent", row.agent]),
    )


def _retry_note(row: RetryRow) -> AgentNote:
    return AgentNote(
        agent=row.agent,
        state=State.RETRYING,
        code=row.code,
        reason=row.reason,
        noted_at=instant(row.stored_us),
        attempts=row.attempts,
        next_try_at=instant(row.not_before_us),
    )


def _set_aside(note: AgentNote) -> str:
    if note.next_try_at is None:
        return f"the {note.agent} gave it up ({note.code}); its bytes are kept: {note.show}"
    when = note.next_try_at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"the {note.agent} could not handle it yet ({note.code}), and tries again at {when}"


def _text(receipt: Receipt) -> str:
    return receipt_text(receipt.cell, receipt.at)
