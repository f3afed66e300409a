"""Asks other processes of the cell whether they are ready, for the strip at the foot of the page.

Not here: which processes (the command line names them), how they answer (health.py).
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import httpx
import msgspec

PERIOD_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 1.5


class Answer(msgspec.Struct, frozen=True):
    """The body of /readyz. Unknown fields are ignored."""

    role: str = ""
    reason: str | None = None


class Role(msgspec.Struct, frozen=True):
    """One watched process. `reason` says why it is not ready."""

    url: str
    role: str
    ready: bool
    reason: str | None


class Roles:
    """`seen` holds the newest answer per watched address, in the order given."""

    def __init__(self, urls: Sequence[str], client: httpx.AsyncClient) -> None:
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._client = client
        self._names: dict[str, str] = {}
        self.seen: Sequence[Role] = ()

    async def refresh(self) -> None:
        """Ask all once."""
        self.seen = await asyncio.gather(*(self._ask(url) for url in self._urls))

    async def run(self) -> None:
        """Ask for ever; returns at once when there is nobody to ask."""
        while self._urls:
            await self.refresh()
            await asyncio.sleep(PERIOD_SECONDS)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _ask(self, url: str) -> Role:
        name = self._names.get(url, url)
        try:
            response = await self._client.get(f"{url}/readyz", timeout=TIMEOUT_SECONDS)
        except httpx.TimeoutException:
            return Role(url, name, ready=False, reason=f"no answer within {TIMEOUT_SECONDS:g} s: hung or overloaded")
        except httpx.HTTPError:
            return Role(url, name, ready=False, reason=f"not reachable at {url}: is it running?")
        try:
            answer = msgspec.json.decode(response.content, type=Answer)
        except msgspec.DecodeError:
            return Role(
                url, name, ready=False, reason=f"answered {response.status_code}, but not as a process of a cell"
            )
        name = self._names[url] = answer.role or url
        if response.status_code == httpx.codes.OK:
            return Role(url, name, ready=True, reason=None)
        return Role(url, name, ready=False, reason=answer.reason or f"answered {response.status_code}")
