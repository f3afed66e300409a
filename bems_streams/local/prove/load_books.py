"""What the load writes down for the judge: every receipt, every event without one, every bad record, and its counters.

Not here: what is sent (load_source.py), what to make of it (judge.py).
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from bems_streams.local.feed_http import Taken
from bems_streams.local.feed_types import Offer, Refusal
from bems_streams.local.simulator import Kind
from bems_streams.ports import Coordinates

ACKNOWLEDGED: Final = "acknowledged.jsonl"
UNACKNOWLEDGED: Final = "unacknowledged.jsonl"
POISON: Final = "poison.jsonl"
COUNTERS: Final = "load.json"
CONTROL: Final = "load-control.json"

Line = TypeVar("Line")


class AcknowledgedEvent(msgspec.Struct, frozen=True, gc=False):
    """A receipt. Of a copy too: it has coordinates of its own."""

    event_id: str
    invoice_id: str
    topic: str
    partition: int
    offset: int
    accepted_at: str


class UnacknowledgedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that was sent and has no receipt: it may or may not be in the log."""

    event_id: str
    invoice_id: str
    reason: str


class PoisonRecord(msgspec.Struct, frozen=True, gc=False):
    """A bad record that is in the log, past the gateways."""

    topic: str
    partition: int
    offset: int


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What load-control.json may ask for: so many records of each. `id` comes back in load.json."""

    id: str = ""
    poison: int = 0
    duplicates: int = 0
    reorder: int = 0


class Counters(msgspec.Struct, kw_only=True):
    """load.json. `controls` counts control files that were obeyed to the end; `control` is the last of them, `error`
    what was wrong with the newest one, or why the load ended by itself. `done`: nothing more will be sent, all files
    are complete.
    """

    seconds: float = 0.0
    sent: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0
    rejected: int = 0
    refused_503: int = 0
    retried: int = 0
    duplicates: int = 0
    reordered: int = 0
    poison: int = 0
    poison_unproven: int = 0
    waiting: str | None = None
    controls: int = 0
    control: Control | None = None
    error: str | None = None
    cpu_seconds: float = 0.0
    done: bool = False


class _Ids(msgspec.Struct):
    event_id: str
    invoice_id: str


_ids: Final = msgspec.json.Decoder(_Ids).decode
_encode: Final = msgspec.json.Encoder().encode


class Books:
    """The files of one load. Each line is with the operating system when the call returns: a kill loses none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._acknowledged, self._unacknowledged, self._poison = (
            (folder / name).open("ab", buffering=0) for name in (ACKNOWLEDGED, UNACKNOWLEDGED, POISON)
        )

    def accepted(self, offer: Offer, taken: Taken) -> None:
        """An event has a receipt."""
        ids = _ids(offer.raw)
        line = AcknowledgedEvent(ids.event_id, ids.invoice_id, *taken)
        self._acknowledged.write(_encode(line) + b"\n")

    def refused(self, refusal: Refusal) -> None:
        """An event has none. Nothing is owed for one that was made to be refused."""
        if refusal.tag is not Kind.INVALID:
            ids = _ids(refusal.raw)
            line = UnacknowledgedEvent(ids.event_id, ids.invoice_id, refusal.reason)
            self._unacknowledged.write(_encode(line) + b"\n")

    def poisoned(self, at: Coordinates) -> None:
        """A bad record is in the log."""
        self._poison.write(_encode(PoisonRecord(*at)) + b"\n")

    def save(self, counters: Counters) -> None:
        """Readers see the counters before or after, never in between."""
        new = self._folder / f".{COUNTERS}.new"
        new.write_bytes(msgspec.json.format(_encode(counters), indent=1))
        new.replace(self._folder / COUNTERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._acknowledged, self._unacknowledged, self._poison):
            file.close()


def read_acknowledged(folder: Path) -> Iterator[AcknowledgedEvent]:
    """Every receipt of a load. A line that a kill cut short was never counted, and is left out."""
    return _lines(folder / ACKNOWLEDGED, msgspec.json.Decoder(AcknowledgedEvent))


def read_poison(folder: Path) -> Iterator[PoisonRecord]:
    """Every bad record that is proven to be in the log; none without the file."""
    path = folder / POISON
    return _lines(path, msgspec.json.Decoder(PoisonRecord)) if path.exists() else iter(())


def read_counters(folder: Path) -> Counters | None:
    """How far the load is; None before it began."""
    try:
        return msgspec.json.decode((folder / COUNTERS).read_bytes(), type=Counters)
    except FileNotFoundError:
        return None


def write_control(folder: Path, control: Control) -> None:
    """Ask a running load for a burst. Wait until `Counters.control` is this one before asking again."""
    new = folder / f".{CONTROL}.new"
    new.write_bytes(_encode(control))
    new.replace(folder / CONTROL)


def _lines(path: Path, decoder: msgspec.json.Decoder[Line]) -> Iterator[Line]:
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield decoder.decode(line)
