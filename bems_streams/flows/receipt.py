"""The receipt of an accepted event, `cell/topic/partition/offset`: its place in the log, as text.

Not here: what became of the event (resolve.py).
"""

import re
from typing import Final, NamedTuple

from bems_streams.ports import Coordinates

_RECEIPT: Final = re.compile(
    r"(?P<cell>.{1,64})/(?P<topic>[a-zA-Z0-9._-]{1,249})/(?P<partition>0|[1-9][0-9]{0,8})/(?P<offset>0|[1-9][0-9]{0,17})"
)
_SHOWN_CHARS: Final = 400


class Receipt(NamedTuple):
    """The place of one accepted event."""

    cell: str
    at: Coordinates


class Malformed(NamedTuple):
    """Not the form of a receipt."""

    reason: str


def receipt_text(cell: str, at: Coordinates) -> str:
    """What a sender is given."""
    topic, partition, offset = at
    return f"{cell}/{topic}/{partition}/{offset}"


def parse_receipt(text: str) -> Receipt | Malformed:
    """The inverse. Only what can have been given: no sign, no leading zero."""
    found = _RECEIPT.fullmatch(text)
    if found is None:
        form = "it is cell/topic/partition/offset, as the answer 202 gave it; copy all of it"
        return Malformed(f"{text[:_SHOWN_CHARS]!r} is no receipt: {form}")
    return Receipt(found["cell"], Coordinates(found["topic"], int(found["partition"]), int(found["offset"])))
