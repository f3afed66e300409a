"""Answers on the wire: each in one write, in order, whole before the connection ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from uvicorn.server import ServerState

from bems_streams.gateway.http import Collector, http_config

Message = MutableMapping[str, Any]
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


class Wire:
    """The part of a transport that a Collector uses."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


async def echo(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answers with the body."""
    body = (await receive())["body"]
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server of `echo`."""
    config = http_config(echo, log_config=None)
    config.load()
    state = ServerState()
    make = config.http_protocol_class
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: make(config, state, {}, loop), "127.0.0.1", 0)  # type: ignore[call-arg]
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


async def test_what_is_written_in_one_turn_goes_out_together() -> None:
    """Head and body of an answer; the next turn's in a write of their own."""
    wire: Any = Wire()
    collector = Collector(wire, asyncio.get_running_loop().call_soon)

    collector.write(b"head")
    collector.write(b"body")
    before = list(wire.written)
    await asyncio.sleep(0)
    collector.write(b"next")
    await asyncio.sleep(0)

    assert before == []
    assert wire.written == [b"headbody", b"next"]


async def test_closing_comes_after_what_was_written() -> None:
    """An answer with `connection: close` is sent whole; nothing is written to a closed connection."""
    wire: Any = Wire()
    collector = Collector(wire, asyncio.get_running_loop().call_soon)

    collector.write(b"last words")
    collector.close()
    await asyncio.sleep(0)

    assert (wire.written, wire.closed, collector.is_closing()) == ([b"last words"], True, True)


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    """Pipelining: the second waits for the first, and both are answered."""
    async with asyncio.timeout(5), echoing() as (reader, writer):
        writer.write(POST + b"aa" + POST + b"bb")

        answers = await reader.readuntil(b"bb")

    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert answers.index(b"aa") < answers.index(b"bb")


async def test_a_sender_that_asks_whether_to_continue_is_told_to() -> None:
    """It would wait for ever if that were kept for later."""
    async with asyncio.timeout(5), echoing() as (reader, writer):
        writer.write(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")

        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")


async def test_a_connection_that_is_not_kept_gets_its_answer_and_its_end() -> None:
    """`Connection: close`."""
    async with asyncio.timeout(5), echoing() as (reader, writer):
        writer.write(POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"ok")

        answer = await reader.read()

    assert answer.endswith(b"ok")
