"""Reads events from a file or pipe of JSON lines, gzipped or not, without ever holding more than a few megabytes.

A line's bytes are passed on as they are, without the line's end. Empty lines are skipped.
Not here: whether a line is a good event; only the gateway decides that.
"""

import asyncio
import os
import select
import zlib
from collections.abc import AsyncIterator, Iterator
from io import FileIO
from typing import Any, Final, NamedTuple

import msgspec

from bems_streams.domain.failures import Problem
from bems_streams.local.feed_types import Offer, Outcome, Refusal, SourceError

CHUNK_BYTES: Final = 256 * 1024
LONGEST_LINE_BYTES: Final = 1024 * 1024
LONGEST_STAGE: Final = 128
GZIP_MAGIC: Final = b"\x1f\x8b"
GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
PATIENCE_SECONDS: Final = 0.5


class _Staged(msgspec.Struct):
    stage: Any = None


_decode_staged = msgspec.json.Decoder(_Staged).decode


class LineFile:
    """A file, or standard input for `-`. Context manager. `read_bytes` is how far it got, as stored on disk."""

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == "-" else name
        self._file = FileIO(os.dup(0) if name == "-" else name)
        self.read_bytes = 0

    @property
    def size_bytes(self) -> int | None:
        """Bytes on disk; None for a pipe or terminal."""
        return os.fstat(self._file.fileno()).st_size or None

    def __enter__(self) -> "LineFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    async def offers(self) -> AsyncIterator[Offer | Refusal]:
        """One per line, tagged with its number from 1; a Refusal for what has no usable stage to send it to."""
        splitter = _Splitter()
        inflate: _Gzip | None = None
        while chunk := await self._next_chunk():
            if not self.read_bytes and chunk.startswith(GZIP_MAGIC):
                inflate = _Gzip()
            self.read_bytes += len(chunk)
            try:
                for piece in inflate.pieces(chunk) if inflate else (chunk,):
                    for line in splitter.split(piece):
                        yield _offer(line)
            except zlib.error as error:
                raise SourceError(self._broken_off(splitter, f"not valid gzip: {error}")) from error
        if inflate is not None and not inflate.complete:
            raise SourceError(self._broken_off(splitter, "the gzip data ends too early"))
        for line in splitter.rest():
            yield _offer(line)

    async def _next_chunk(self) -> bytes:
        """Empty at the end. A pipe is asked in short turns, so that no thread stays behind when reading is stopped."""
        try:
            while (chunk := await asyncio.to_thread(self._chunk_or_none)) is None:
                continue
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}; what was read before is sent") from error
        return chunk

    def _chunk_or_none(self) -> bytes | None:
        ready, _, _ = select.select([self._file], [], [], PATIENCE_SECONDS)
        return self._file.read(CHUNK_BYTES) if ready else None

    def _broken_off(self, splitter: "_Splitter", why: str) -> str:
        return f"{self.name}: {why}; line {splitter.number} was the last whole one. Get a sound copy and feed it again"


class _Line(NamedTuple):
    number: int
    raw: bytes
    too_long: bool = False


class _Splitter:
    """Lines from pieces. Of a line that is too long only the beginning is kept."""

    def __init__(self) -> None:
        self.number = 0
        self._begun = bytearray()

    def split(self, piece: bytes) -> Iterator[_Line]:
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            yield from self._line(piece[start:end])
            start = end + 1
        self._keep(piece[start:])

    def rest(self) -> Iterator[_Line]:
        """A last line without an end."""
        yield from self._line(b"")

    def _keep(self, part: bytes) -> None:
        self._begun += part[: LONGEST_LINE_BYTES + 1 - len(self._begun)]

    def _line(self, part: bytes) -> Iterator[_Line]:
        self._keep(part)
        raw = bytes(self._begun)
        self._begun.clear()
        self.number += 1
        if len(raw) > LONGEST_LINE_BYTES:
            yield _Line(self.number, raw[:1024], too_long=True)
        elif (raw := raw.rstrip(b"\r")).strip():
            yield _Line(self.number, raw)


class _Gzip:
    """Inflates a stream of one or more members in pieces of bounded size."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP_WINDOW)

    @property
    def complete(self) -> bool:
        return self._member.eof

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(GZIP_WINDOW)
            yield self._member.decompress(chunk, LONGEST_LINE_BYTES)
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail


def _offer(line: _Line) -> Offer | Refusal:
    if line.too_long:
        return _refuse(line, "", f"longer than {LONGEST_LINE_BYTES} bytes; an event is far smaller: one event a line")
    try:
        stage = _decode_staged(line.raw).stage
    except msgspec.ValidationError:
        return _refuse(line, "", "an event is a JSON object")
    except (msgspec.DecodeError, RecursionError) as error:
        return _refuse(line, "", f"not JSON: {error}")
    if not isinstance(stage, str) or not 0 < len(stage) <= LONGEST_STAGE or not stage.strip("."):
        return _refuse(line, "stage", "missing or no stage name, so there is no address to send it to")
    return Offer(stage, line.raw, line.number)


def _refuse(line: _Line, path: str, message: str) -> Refusal:
    return Refusal("", line.raw, line.number, Outcome.REJECTED, (Problem(path, message),))
