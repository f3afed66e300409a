"""Open invoices, each somewhere in its journey: their stored states, and the events that hit them next.

A function of the seed. Not here: tables and the tracker that the events are given to (in_process.py).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import Final

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.domain.event import parse_event
from bems_streams.domain.failures import Failure
from bems_streams.domain.fold import fold
from bems_streams.domain.journey import Journey
from bems_streams.domain.state import Step
from bems_streams.ports import Change, Coordinates, RawRecord
from benchmarks.domain import T0_US, VISITS, payload

LAST: Final = len(VISITS)
DAY_US: Final = 86_400_000_000


class Population:
    """`count` invoices over `partitions`, always as many: a new one takes the place of one that ends.

    first_us, last_us  between which deadlines lie, evenly
    """

    def __init__(self, count: int, partitions: int, journey: Journey, seed: int = 1) -> None:
        self.count = count
        self.partitions = partitions
        self.first_us = T0_US + DAY_US
        self.last_us = self.first_us + 30 * DAY_US
        self._journey = journey
        self._random = Random(seed)
        self._events = bytearray(self._random.randbytes(count).translate(bytes(1 + n % (LAST - 1) for n in range(256))))
        self._successors: dict[int, int] = {}
        self._offsets: dict[tuple[str, int], int] = {}

    def key(self, number: int) -> bytes:
        """The invoice that has place `number` now."""
        return self._invoice_id(number).encode()

    def _invoice_id(self, number: int) -> str:
        return f"INV-{number:09d}-{self._successors.get(number, 0):03d}"

    def fill(self, partition: int) -> Iterator[tuple[bytes, Change]]:
        """What a table of this partition holds, by key; before any event was taken."""
        for number in range(partition, self.count, self.partitions):
            yield self.key(number), self._change(number)

    def _change(self, number: int) -> Change:
        events = self._events[number]
        tracked = decode_tracked(self._templates[events])
        state = tracked.state
        state.seen = sorted(struct.unpack(f">{events}Q", self._random.randbytes(8 * events)))
        shift_us = self._random.randrange(self.last_us - self.first_us)
        state.stay = [
            Step(step.occurred_us, digest, step.accepted_us + shift_us)
            for step, digest in zip(state.stay, state.seen, strict=False)
        ]
        tracked.deadline_us = state.deadline_us(self._journey) or 0
        return Change(encode_tracked(tracked), 0, tracked.deadline_us)

    @cached_property
    def _templates(self) -> Mapping[int, bytes]:
        """A stored invoice by how many events it has had."""
        tracked, templates = TrackedInvoice.new(), {}
        for place in range(LAST - 1):
            event = parse_event(payload(0, place))
            assert not isinstance(event, Failure), event
            fold(tracked.state, event, T0_US + place, self._journey)
            tracked.revision += 1
            templates[place + 1] = encode_tracked(tracked)
        return templates

    def moved(self, stored: bytes, deadline_us: int) -> Change:
        """The invoice having entered its stage so much earlier or later that this is its deadline.

        Unchanged if it is in a stage without one.
        """
        tracked = decode_tracked(stored)
        old_us, now_us = tracked.deadline_us, tracked.state.deadline_us(self._journey)
        if now_us is not None:
            tracked.forget_alert()
            shift_us = deadline_us - now_us
            tracked.state.stay = [
                Step(step.occurred_us, step.digest, step.accepted_us + shift_us) for step in tracked.state.stay
            ]
            tracked.deadline_us = deadline_us
        return Change(encode_tracked(tracked), old_us, tracked.deadline_us)

    def has_deadline(self, number: int) -> bool:
        """Whether the invoice at this place is in a stage that has a limit."""
        events = self._events[number]
        return bool(events) and self._journey.by_name[VISITS[events - 1]].stuck_after_us is not None

    def draw(self, count: int) -> Sequence[int]:
        """Places of different invoices, at random."""
        return self._random.sample(range(self.count), count)

    def next_event(self, number: int, topics: Mapping[str, str]) -> RawRecord:
        """The next event of the invoice at this place, as its stage's topic holds it."""
        if self._events[number] == LAST:
            self._successors[number] = self._successors.get(number, 0) + 1
            self._events[number] = 0
        step, invoice_id = self._events[number], self._invoice_id(number)
        self._events[number] += 1
        place = topics[VISITS[step]], number % self.partitions
        self._offsets[place] = offset = self._offsets.get(place, -1) + 1
        value = payload(number, step).replace(b"INV-2025-%09d" % number, invoice_id.encode())
        return RawRecord(Coordinates(*place, offset), invoice_id.encode(), value, (), T0_US + 31 * DAY_US)
