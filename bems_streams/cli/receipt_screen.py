"""One receipt on a terminal: a panel with the state, its times, and what agents say of it.

Not here: finding it out (receipt.py).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bems_streams.cli.screen import plain
from bems_streams.domain.standing import AgentNote, Standing, State
from bems_streams.flows.receipt import Malformed
from bems_streams.flows.resolve import Away, OtherCell, Resolution, Unknown

_STYLES: Final[Mapping[State, str]] = {
    State.ACCEPTED: "yellow",
    State.STORED: "green",
    State.DUPLICATE: "green",
    State.RETRYING: "yellow",
    State.DEAD_LETTERED: "red",
    State.MISSING: "bold red",
}
_NAMES: Final[Mapping[type, str]] = {
    Malformed: "no receipt",
    OtherCell: "other cell",
    Unknown: "unknown",
    Away: "not known now",
}


def print_resolution(console: Console, receipt: str, found: Resolution) -> None:
    """A panel: the receipt, then all that is known."""
    if isinstance(found, Standing):
        style = _STYLES[found.state]
        parts: list[RenderableType] = [_headline(found.state.replace("_", "-"), found.detail, style), _facts(found)]
    else:
        style = "red"
        parts = [_headline(_NAMES[type(found)], found.reason, style)]
    console.print(
        Panel(Group(*parts), title=plain(receipt, "bold"), title_align="left", border_style=style, expand=False)
    )


def unresolved_object(receipt: str, found: Malformed | OtherCell | Unknown | Away) -> dict[str, Any]:
    """For --json: `state` is none of those that a receipt can have."""
    return {"receipt": receipt, "state": _NAMES[type(found)].replace(" ", "_"), "detail": found.reason}


def _headline(name: str, detail: str, style: str) -> Text:
    return Text.assemble((name, f"bold {style}"), "   ", plain(detail))


def _facts(found: Standing) -> Table:
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _rows(found):
        table.add_row(name, value)
    return table


def _rows(found: Standing) -> Iterator[tuple[str, Text]]:
    if found.invoice_id is not None:
        yield "invoice", plain(found.invoice_id)
    if found.event_id is not None:
        yield "event", plain(found.event_id)
    yield "accepted", _moment(found.accepted_at)
    if found.stored_at is not None:
        yield "stored", _moment(found.stored_at)
    if (first := found.duplicate_of) is not None:
        yield "duplicate of", plain(first.receipt)
        yield "", Text.assemble("accepted ", _moment(first.accepted_at), ", stored ", _moment(first.stored_at))
    for note in found.agents:
        yield from _note(note)


def _note(note: AgentNote) -> Iterator[tuple[str, Text]]:
    yield (
        note.agent,
        Text.assemble(
            (note.state.replace("_", "-"), _STYLES[note.state]),
            " since ",
            _moment(note.noted_at),
            ": ",
            plain(note.code),
        ),
    )
    yield "", plain(note.reason)
    if note.next_try_at is not None:
        yield "", Text.assemble(f"attempt {note.attempts} failed, next at ", _moment(note.next_try_at))
    if note.show is not None:
        yield "", plain(note.show)


def _moment(moment: datetime | None) -> Text:
    return plain(None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
