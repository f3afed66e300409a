"""Answers what became of an event, by its receipt: off the hot path, on a few threads of its own, bounded in time.

Not here: finding it out (flows/resolve.py), routes (cold.py).
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bems_streams.domain.standing import Standing
from bems_streams.flows.receipt import Malformed
from bems_streams.flows.resolve import Away, OtherCell, Resolution, Unknown
from bems_streams.gateway.body import RETRY_SOON
from bems_streams.gateway.problems import Kind, Refusal
from bems_streams.gateway.receipts import RETRY_LATER

log = logging.getLogger(__name__)

RECEIPTS: Final = "/v1/receipts/"
THREADS: Final = 4
WAITING: Final = 64
ANSWER_SECONDS: Final = 10.0
_KINDS: Final[Mapping[type, Kind]] = {
    Malformed: Kind.INVALID_RECEIPT,
    OtherCell: Kind.OTHER_CELL,
    Unknown: Kind.UNKNOWN_RECEIPT,
}


class Lookup:
    """Resolves receipts without holding up events: at most THREADS at once, WAITING in all, ANSWER_SECONDS each.

    Belongs to one event loop. `resolve` blocks, and ends by itself some time.
    """

    def __init__(self, resolve: Callable[[str], Resolution], answer_seconds: float = ANSWER_SECONDS) -> None:
        self._resolve = resolve
        self._answer_seconds = answer_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="receipts")
        self._asked = 0

    async def __call__(self, receipt: str) -> Standing | Refusal:
        """The standing, or why there is none, or none now."""
        if self._asked >= WAITING:
            detail = f"{self._asked} receipts are being looked up already; ask again a little later"
            return Refusal(Kind.BUSY, detail, (), (RETRY_SOON,))
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._resolve, receipt)
        self._asked += 1
        asked.add_done_callback(self._answered)
        await asyncio.wait([asked], timeout=self._answer_seconds)  # what is still waiting keeps its place in the queue
        found = self._found(receipt, asked)
        return _refusal(found) if isinstance(found, (Malformed, OtherCell, Unknown, Away)) else found

    def _found(self, receipt: str, asked: "asyncio.Future[Resolution]") -> Resolution | Refusal:
        if not asked.done():
            return Away(f"store and log have not told within {self._answer_seconds:g} s")
        if asked.cancelled():
            return Away("the gateway is stopping")
        if (error := asked.exception()) is not None:
            log.error("a receipt could not be looked up: %r", receipt[:400], exc_info=error)
            return Refusal(Kind.INTERNAL, "nothing can be said of this receipt; ask again")
        return asked.result()

    def _answered(self, asked: "asyncio.Future[Resolution]") -> None:
        self._asked -= 1
        if not asked.cancelled():
            asked.exception()  # seen: after a timeout nobody else asks for it

    def close(self) -> None:
        """Start no further one. Those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _refusal(found: Malformed | OtherCell | Unknown | Away) -> Refusal:
    if isinstance(found, Away):
        detail = f"{found.reason}; this says nothing against the event, ask again a little later"
        return Refusal(Kind.UNRESOLVED, detail, (), (RETRY_LATER,))
    return Refusal(_KINDS[type(found)], found.reason)
