"""The stored form of one invoice: a version byte, then a msgpack array.

Not here: what the state means (state.py), where the bytes are kept (runtime).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from bems_streams.domain.state import CurrentStay, InvoiceState

Migration = Callable[[bytes], bytes]
"""Turns the msgpack body written by one version into the body of the next; raises msgspec.DecodeError on garbage."""

VERSION: Final = 1
MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""One step for every version before VERSION: `{1: from_1_to_2, 2: from_2_to_3}`. Steps are never removed or changed."""

_LEAD: Final = bytes([VERSION])


class StateError(Exception):
    """Stored state that this release cannot use. The message says what to do next."""


class NewerStateError(StateError):
    """The state was written by a later release. Nothing is wrong with it."""


class CorruptStateError(StateError):
    """The bytes are not a state that any release wrote."""


class TrackedInvoice(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What a tracker keeps of one invoice.

    revision             grows by one with every published change
    deadline_us          the entry that the deadline index holds for this invoice now (0: none). Kept here because
                         limits may change between releases, so it cannot be computed again from the state
    alerted_stage        code of the stage a stuck alert is out for (0: no alert is out)
    alerted_entered_us   when the invoice had entered that stage, as the alert said
    alerted_deadline_us  the deadline which that alert named (0: no alert is out)
    state                the folded events

    No field has a default, so that bytes which lack one are refused instead of filled up.
    """

    revision: int
    deadline_us: int
    alerted_stage: int
    alerted_entered_us: int
    alerted_deadline_us: int
    state: InvoiceState

    @classmethod
    def new(cls) -> "TrackedInvoice":
        """An invoice of which nothing has been seen or published yet."""
        return cls(0, 0, 0, 0, 0, InvoiceState())

    def note_alert(self, deadline_us: int) -> None:
        """Remember the stuck alert that goes out for the current stage and this deadline."""
        self.alerted_stage, self.alerted_entered_us = self.state.stage, self.state.entered_us
        self.alerted_deadline_us = deadline_us

    def forget_alert(self) -> None:
        """No alert is out any more."""
        self.alerted_stage = self.alerted_entered_us = self.alerted_deadline_us = 0


class WatchedInvoice(msgspec.Struct, array_like=True, gc=False):
    """The part of a TrackedInvoice that says which deadline it has: less than half the cost of decoding all of it."""

    revision: int
    deadline_us: int
    alerted_stage: int
    alerted_entered_us: int
    alerted_deadline_us: int
    state: CurrentStay


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TrackedInvoice).decode
_decode_watched = msgspec.msgpack.Decoder(WatchedInvoice).decode


def encode_tracked(tracked: TrackedInvoice) -> bytes:
    """Bytes to store. Equal values give equal bytes."""
    return _LEAD + _encode(tracked)


def decode_tracked(
    raw: bytes, migrations: Mapping[int, Migration] = MIGRATIONS, version: int = VERSION
) -> TrackedInvoice:
    """The inverse of `encode_tracked`, for what this release or any earlier one wrote.

    Raises NewerStateError for a later release's bytes, CorruptStateError for anything else that does not decode.
    """
    if not raw:
        raise CorruptStateError(f"stored state is empty. {_REBUILD}")
    body, written_by = raw[1:], raw[0]
    if written_by > version:
        raise _newer(written_by, version)
    try:
        if written_by < version:
            for step in range(written_by, version):
                body = migrations[step](body)
        return _decode(body)
    except KeyError as error:
        raise CorruptStateError(f"stored state has format {written_by}, which no release wrote. {_REBUILD}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptStateError(f"stored state of format {written_by} does not decode: {error}. {_REBUILD}") from error


def decode_watched(raw: bytes) -> WatchedInvoice | TrackedInvoice:
    """As `decode_tracked`, for its deadlines alone. Damage in what it passes over is left to whoever reads that."""
    if raw[:1] != _LEAD:
        return decode_tracked(raw)
    try:
        return _decode_watched(raw[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_tracked(raw)


def refuse_newer(raws: Iterable[bytes | None]) -> None:
    """NewerStateError when one of them was written by a later release. Decodes none."""
    newest = max((raw[:1] for raw in raws if raw), default=_LEAD)
    if newest > _LEAD:
        raise _newer(newest[0], VERSION)


def _newer(written_by: int, version: int) -> NewerStateError:
    return NewerStateError(
        f"stored state has format {written_by}, this release reads up to {version}: start the newer release of the "
        "worker again. The state is intact; do not delete it."
    )


_REBUILD: Final = (
    "Stop the worker, delete its table of this partition and start it again: it restores the table from the changelog. "
    "If the changelog holds the same bytes, replay the stage topics."
)
