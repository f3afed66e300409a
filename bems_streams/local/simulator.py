"""Made-up but realistic invoices: the same scenario gives the same events, byte for byte, in the order they are sent.

Every invoice is a function of the seed and its number alone, so a scenario can also tell what is true of it.
Not here: sending (feeder.py), the pace of sending (feed_pace.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from heapq import heappop, heappush
from math import exp
from random import Random
from typing import Final, NamedTuple

from bems_streams.local.simulator_calendar import DAY_US, HOUR_US, SECOND_US, ArrivalCurve, after_weekend
from bems_streams.local.simulator_journeys import Activity, Course, draw_course
from bems_streams.local.simulator_payloads import CURRENCIES, MISTAKES, Invoice, document, draw_invoice, encode

MEAN_EVENTS_PER_INVOICE: Final = 14  # of real purchase-to-pay logs
WAIT_SPREAD: Final = 0.9  # sigma of the logarithm
LATE_MEDIAN_US: Final = 9 * HOUR_US
LATE_SPREAD: Final = 1.5
LATE_MOST_US: Final = 90 * DAY_US
MILLISECOND_US: Final = 1_000


class Kind(StrEnum):
    """How an event is sent. The first three are valid and new; copies and mistakes come on top of them."""

    ON_TIME = "on time"
    LATE = "late"
    REORDERED = "reordered"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


class SimulatedEvent(NamedTuple):
    """One thing to send. `at_us` is simulated time: when an upstream system would send it."""

    at_us: int
    stage: str
    raw: bytes
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What to make up. Shares are between 0 and 1: of events for late, duplicate, reordered and invalid; of invoices
    for skipped (a stage left out) and stuck. Invoices that are not stuck are closed when `days` are over.
    """

    seed: int
    start_us: int
    invoices: int = 1_000
    days: float = 30.0
    surge: float = 3.0  # how busy the last three working days before closing are; an ordinary working day is 1
    closing_day: int = 31  # of each month; 31 is its last day
    late: float = 0.02
    duplicate: float = 0.01
    reordered: float = 0.03
    invalid: float = 0.005
    skipped: float = 0.03
    stuck: float = 0.02
    currencies: tuple[str, ...] = CURRENCIES
    legal_entities: int = 24
    payees: int = 2_000

    def __post_init__(self) -> None:
        unknown = sorted(set(self.currencies) - set(CURRENCIES))
        if unknown or not self.currencies:
            raise ValueError(f"currencies {unknown}: choose from {', '.join(CURRENCIES)}")
        if min(self.invoices, self.legal_entities, self.payees, self.days, self.seed + 1) <= 0:
            raise ValueError("invoices, days, legal entities and payees must be above 0, the seed 0 or more")

    @property
    def end_us(self) -> int:
        """Business time of the last event, at most."""
        return self.start_us + int(self.days * DAY_US)

    @property
    def expected_events(self) -> int:
        """About how many events are sent, for progress bars."""
        return self.invoices * MEAN_EVENTS_PER_INVOICE

    @property
    def run_id(self) -> str:
        """Eight hex digits that stand for seed and start."""
        return blake2b(f"{self.seed}:{self.start_us}".encode(), digest_size=4).hexdigest()

    def invoice_id(self, number: int) -> str:
        """Different for another seed or another start, so that a new run is never taken for copies of an old one."""
        return f"INV-{self.run_id}-{number:07d}"


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What is true of a scenario. `stuck`: invoice id to the stage that it never leaves."""

    valid: int
    duplicates: int
    invalid: int
    invoices: int
    stuck: Mapping[str, str]

    @property
    def events(self) -> int:
        """Everything that is sent."""
        return self.valid + self.duplicates + self.invalid


class _Sending(NamedTuple):
    kind: Kind
    copied: bool
    mistake: int | None


class _Draft(NamedTuple):
    """An invoice before it has times."""

    invoice: Invoice
    course: Course
    sendings: tuple[_Sending, ...]

    @property
    def sent(self) -> int:
        return sum(1 + sending.copied + (sending.mistake is not None) for sending in self.sendings)


class _Delivery(NamedTuple):
    at_us: int
    step: int
    kind: Kind
    mistake: int
    occurred_us: int


class _Open(NamedTuple):
    """An invoice under way; the heap orders by the first two, which no two invoices share."""

    at_us: int
    number: int
    place: int  # of the next delivery
    draft: _Draft
    deliveries: list[_Delivery]
    invoice_date: date


def fit_to_events(scenario: Scenario, events: int) -> Scenario:
    """The same scenario with as many whole invoices as make at most `events` events (but at least one invoice)."""
    rng, total, number = _dice(), 0, 0
    while (total := total + _draft(scenario, number, rng).sent) <= events:
        number += 1
    return replace(scenario, invoices=max(1, number))


def ground_truth(scenario: Scenario) -> GroundTruth:
    """Count what `simulate` will send, without making it."""
    rng, valid, copies, mistakes = _dice(), 0, 0, 0
    stuck: dict[str, str] = {}
    for number in range(scenario.invoices):
        draft = _draft(scenario, number, rng)
        valid += len(draft.sendings)
        copies += sum(sending.copied for sending in draft.sendings)
        mistakes += sum(sending.mistake is not None for sending in draft.sendings)
        if draft.course.stuck_in is not None:
            stuck[draft.invoice.invoice_id] = draft.course.stuck_in
    return GroundTruth(valid, copies, mistakes, scenario.invoices, stuck)


def simulate(scenario: Scenario) -> Iterator[SimulatedEvent]:
    """All events by `at_us`. Memory grows with the invoices that are open at the same time, not with their number."""
    rng = _dice()
    quiet_us = min(6 * HOUR_US, (scenario.end_us - scenario.start_us) // 20)
    curve = ArrivalCurve.between(scenario.start_us, scenario.end_us - quiet_us, scenario.surge, scenario.closing_day)
    waiting: list[_Open] = []
    for number in range(scenario.invoices):
        draft = _draft(scenario, number, rng)
        arrival_us = curve.at_us((number + rng.random()) / scenario.invoices)
        while waiting and waiting[0][0] < arrival_us:
            yield _next(waiting)
        deliveries = _deliveries(draft, rng, arrival_us, scenario.end_us)
        invoiced = datetime.fromtimestamp(arrival_us // SECOND_US, tz=UTC).date() - timedelta(days=number % 6)
        heappush(waiting, _Open(deliveries[0].at_us, number, 0, draft, deliveries, invoiced))
    while waiting:
        yield _next(waiting)


def _dice() -> Random:
    return Random()  # noqa: S311 - made-up data; `_draft` seeds it anew for each invoice


def _next(waiting: list[_Open]) -> SimulatedEvent:
    invoice = heappop(waiting)
    following = invoice.place + 1
    if following < len(invoice.deliveries):
        heappush(waiting, invoice._replace(at_us=invoice.deliveries[following].at_us, place=following))
    delivery = invoice.deliveries[invoice.place]
    activity = invoice.draft.course.steps[delivery.step]
    event = document(invoice.draft.invoice, delivery.step + 1, activity, delivery.occurred_us, invoice.invoice_date)
    raw = MISTAKES[delivery.mistake](event) if delivery.kind is Kind.INVALID else encode(event)
    return SimulatedEvent(delivery.at_us, activity.stage, raw, delivery.kind)


def _draft(scenario: Scenario, number: int, rng: Random) -> _Draft:
    """Everything about invoice `number` that does not depend on the calendar. Leaves `rng` ready for the times."""
    rng.seed(scenario.seed << 40 | number)
    invoice = draw_invoice(
        rng,
        scenario.invoice_id(number),
        currencies=scenario.currencies,
        legal_entities=scenario.legal_entities,
        payees=scenario.payees,
    )
    course = draw_course(rng, invoice.traits, skipped=scenario.skipped, stuck=scenario.stuck)
    sendings = [_sending(scenario, rng) for _ in course.steps]
    if sendings[-1].kind is Kind.REORDERED:  # nothing comes after it that could overtake it
        sendings[-1] = sendings[-1]._replace(kind=Kind.ON_TIME)
    return _Draft(invoice, course, tuple(sendings))


def _sending(scenario: Scenario, rng: Random) -> _Sending:
    luck = rng.random()
    kind = Kind.ON_TIME
    if luck < scenario.late:
        kind = Kind.LATE
    elif luck < scenario.late + scenario.reordered:
        kind = Kind.REORDERED
    copied = rng.random() < scenario.duplicate
    mistake = rng.randrange(len(MISTAKES)) if rng.random() < scenario.invalid else None
    return _Sending(kind, copied, mistake)


def _deliveries(draft: _Draft, rng: Random, arrival_us: int, end_us: int) -> list[_Delivery]:
    """When each step happens and when it is sent, by sending time."""
    occurred = _occurrences(draft.course.steps, rng, arrival_us, end_us)
    sent_us = [
        _first_sent_us(sending.kind, moment, rng, end_us)
        for sending, moment in zip(draft.sendings, occurred, strict=True)
    ]
    for step in reversed(range(len(occurred))):
        if draft.sendings[step].kind is Kind.REORDERED:
            sent_us[step] = max(sent_us[step], sent_us[step + 1] + int(rng.uniform(10, 60) * SECOND_US))
    result: list[_Delivery] = []
    for step, sending in enumerate(draft.sendings):
        at_us = sent_us[step]
        if sending.mistake is not None:
            result.append(_Delivery(at_us, step, Kind.INVALID, sending.mistake, occurred[step]))
        result.append(_Delivery(at_us, step, sending.kind, 0, occurred[step]))
        if sending.copied:
            again_us = at_us + int(rng.uniform(1, 7_200) * SECOND_US)
            result.append(_Delivery(max(at_us, min(again_us, end_us)), step, Kind.DUPLICATE, 0, occurred[step]))
    result.sort(key=lambda delivery: delivery.at_us)
    return result


def _first_sent_us(kind: Kind, occurred_us: int, rng: Random, end_us: int) -> int:
    """A moment after it happened; for a late one hours to months, but not beyond the end."""
    at_us = occurred_us + int(rng.expovariate(0.5) * SECOND_US)
    if kind is not Kind.LATE:
        return at_us
    delay_us = int(min(LATE_MOST_US, LATE_MEDIAN_US * exp(rng.gauss(0.0, LATE_SPREAD))))
    return max(at_us, min(at_us + delay_us, end_us))


def _occurrences(steps: tuple[Activity, ...], rng: Random, arrival_us: int, end_us: int) -> list[int]:
    """Business time of each step, strictly increasing. What would end too late is hurried, as before a closing."""
    at_us, times = arrival_us, []
    for step in steps:
        at_us += int(step.wait_seconds * exp(rng.gauss(0.0, WAIT_SPREAD)) * SECOND_US)
        if step.by_people and rng.random() < 0.8:
            at_us = after_weekend(at_us)
        times.append(at_us)
    taken_us, left_us = times[-1] - arrival_us, end_us - arrival_us
    if taken_us > left_us:
        times = [arrival_us + (moment - arrival_us) * left_us // taken_us for moment in times]
    result: list[int] = []
    for moment in times:
        earliest_us = result[-1] + MILLISECOND_US if result else 0
        result.append(max(moment // MILLISECOND_US * MILLISECOND_US, earliest_us))
    return result
