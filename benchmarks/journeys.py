"""Requests of 100 valid events each, of made-up invoices on their way through all stages; rendered once, patched after.

Every invoice has 14 events in journey order, one request apart from the next by a number of requests that the caller
chooses. Rendering the bodies of one hundred invoices and replacing their ids costs a request 20 µs, so that whoever
sends them leaves the processors to what is measured.
Not here: sending (open_loop.py), invoices as different as real ones (bems_streams/local/simulator.py),
records for topics (feed.py).
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from random import Random
from typing import Final

from bems_streams.local.simulator_journeys import ACTIVITIES, STAGES, Activity
from bems_streams.local.simulator_payloads import CURRENCIES, document, draw_invoice, encode
from benchmarks.http_load import post

EVENTS_PER_REQUEST: Final = 100
STEPS_PER_STAGE: Final = dict(zip(STAGES, (3, 5, 4, 2), strict=True))
STEPS: Final[Sequence[Activity]] = [
    activity for stage, number in STEPS_PER_STAGE.items() for activity in ACTIVITIES[stage][-number:]
]
EVENTS_PER_INVOICE: Final = len(STEPS)
INVOICED: Final = date(2026, 2, 2)
BEGAN_US: Final = 1_770_000_000_000_000
STEP_US: Final = 6 * 3_600_000_000
MARK: Final = b"@" * 16
"""Stands where each group of one hundred invoices has its own number; a run's own eight digits come first."""


class Journeys:
    """All requests of one run, by number from 0 on. The same arguments give the same bytes.

    run   tells the invoices of this run from those of any other
    gap   requests between two events of one invoice, in rounds of 14

    The stages have their shares from the first request on: the oldest invoices began before the run.
    """

    def __init__(self, seed: int, run: int, gap: int) -> None:
        self._run = b"%08x" % (run & 0xFFFFFFFF)
        self._gap = max(1, gap)
        self._oldest = (EVENTS_PER_INVOICE - 1) * self._gap
        self._requests = [
            post(f"/v1/{activity.stage}/events", b"[" + b",".join(_render(seed, step, activity)) + b"]")
            for step, activity in enumerate(STEPS)
        ]

    def request(self, number: int) -> bytes:
        """As it goes over the wire."""
        turn, step = divmod(number, EVENTS_PER_INVOICE)
        group = self._oldest + turn - step * self._gap
        return self._requests[step].replace(MARK, self._run + b"%08x" % group)


def gap_of(rate: float, seconds: float) -> int:
    """The gap that keeps two events of one invoice so many seconds apart, at `rate` events a second."""
    return round(seconds * rate / (EVENTS_PER_INVOICE * EVENTS_PER_REQUEST))


def _render(seed: int, step: int, activity: Activity) -> Iterator[bytes]:
    """One event of each of one hundred invoices; the invoices are those of every other step."""
    rng = Random(seed)
    for place in range(EVENTS_PER_REQUEST):
        invoice_id = f"INV-{MARK.decode()}-{place:02d}"
        invoice = draw_invoice(rng, invoice_id, currencies=CURRENCIES, legal_entities=24, payees=2_000)
        invoiced = INVOICED - timedelta(days=place % 6)
        yield encode(document(invoice, step + 1, activity, BEGAN_US + place * 1_000_000 + step * STEP_US, invoiced))
