"""What a request's method and headers say, before any of its body is read.

Not here: the body (body.py).
"""

import os
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final

from bems_streams.gateway.body import Encoding, Gzip, Identity, too_large
from bems_streams.gateway.limits import Limits
from bems_streams.gateway.problems import Kind, Refusal
from bems_streams.gateway.receipts import JSON_TYPE

CORRELATION_HEADERS: Final = (b"x-correlation-id", b"correlation-id")
_CORRELATION_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")
_ENCODINGS: Final[Mapping[bytes, Callable[[], Encoding]]] = {
    b"": Identity,
    b"identity": Identity,
    b"gzip": Gzip,
    b"x-gzip": Gzip,
}


class CorrelationIds:
    """Correlation ids of one gateway: 64 random bits, then a count, which costs less than new random bits each time."""

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._numbers = count(1)

    def new(self) -> str:
        """One that nobody has yet."""
        return f"{self._prefix}{next(self._numbers):016x}"

    def of(self, headers: Mapping[bytes, bytes]) -> str | Refusal:
        """The sender's own, else a new one. Refused when it could not be a header of an answer or a record."""
        for name in CORRELATION_HEADERS:
            value = headers.get(name)
            if value is not None:
                if _CORRELATION_ID.fullmatch(value):
                    return value.decode("ascii")
                detail = (
                    f"{name.decode()} has 1 to 128 printable ASCII characters, no spaces; correct it or leave it out"
                )
                return Refusal(Kind.INVALID_HEADER, detail)
        return self.new()


def encoding_of(method: str, headers: Mapping[bytes, bytes], limits: Limits) -> Encoding | Refusal:
    """What the request line and headers already tell, before any of the body is read."""
    if method != "POST":
        return Refusal(Kind.METHOD, f"{method[:16]} is not possible here; use POST", (), ((b"allow", b"POST"),))
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        return Refusal(Kind.MEDIA_TYPE, "send Content-Type: application/json", (), ((b"accept", JSON_TYPE),))
    encoding = _ENCODINGS.get(headers.get(b"content-encoding", b"").strip().lower())
    if encoding is None:
        detail = "send the body as it is, or with Content-Encoding: gzip"
        return Refusal(Kind.MEDIA_TYPE, detail, (), ((b"accept-encoding", b"gzip"),))
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced[:18]) > limits.body_bytes:
        return too_large(limits)
    return encoding()
