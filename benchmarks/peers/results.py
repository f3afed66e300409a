"""What all peers must agree on: how many invoices, how many events, and a sum over a digest of every final state.

Made from status documents, whoever wrote them. Left out is what says when or by whom a document was made.
Not here: reading them from a topic (verdict.py).
"""

from hashlib import blake2b
from typing import Final

import msgspec

from bems_streams.domain.views import StatusDocument, decode_status

UNALIKE: Final = frozenset({"revision", "stuck_since", "updated_at", "cell", "region"})
_encode = msgspec.json.Encoder(order="sorted").encode


def digest_of(status: StatusDocument) -> int:
    """63 bits of all that is said about the invoice itself."""
    said = {name: getattr(status, name) for name in status.__struct_fields__ if name not in UNALIKE}
    return int.from_bytes(blake2b(_encode(said), digest_size=8).digest(), "big") >> 1


class Results:
    """Sums over invoices, in any order."""

    def __init__(self) -> None:
        self.invoices = 0
        self.events = 0
        self.digest = 0

    def add(self, document: bytes) -> None:
        """The newest status document of one invoice. msgspec.DecodeError when it is none."""
        status = decode_status(document)
        self.invoices += 1
        self.events += status.events
        self.digest = (self.digest + digest_of(status)) % (1 << 62)

    def document(self) -> dict[str, int]:
        """To be compared."""
        return {"invoices": self.invoices, "events": self.events, "digest": self.digest}
