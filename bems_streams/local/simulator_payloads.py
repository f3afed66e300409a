"""What made-up invoices look like: parties, exact amounts, three-way match, JSON bytes, and ways to get them wrong.

Amounts are integers in the smallest unit of their currency until they are written as decimal text; no floats.
Not here: what happens to an invoice (simulator_journeys.py) and when (simulator.py).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from bems_streams.local.simulator_journeys import INGESTION, Activity, Trait

PAYMENT_TERMS_DAYS: Final = (30, 30, 30, 30, 30, 30, 45, 45, 45, 60, 60, 60, 60, 90, 90, 120, 180, 365)
CHANNELS: Final = ("edi", "edi", "portal", "email", "scan")
MEDIAN_AMOUNT: Final = 1_800.0  # in units of a currency worth one euro
AMOUNT_SPREAD: Final = 1.4  # sigma of the logarithm
LARGE_AMOUNT: Final = 12_000.0
PRICE_VARIANCE_SHARE: Final = 0.18
QUANTITY_VARIANCE_SHARE: Final = 0.1


class Country(NamedTuple):
    """Where a legal entity sits. `units_per_euro` gives amounts of a plausible size, nothing more."""

    code: str
    currency: str
    digits: int  # of the smallest unit, after the decimal point (ISO 4217)
    units_per_euro: float
    offset: timezone


def _country(code: str, currency: str, digits: int, units_per_euro: float, offset_minutes: int) -> Country:
    return Country(code, currency, digits, units_per_euro, timezone(timedelta(minutes=offset_minutes)))


COUNTRIES: Final = (
    _country("DE", "EUR", 2, 1.0, 60),
    _country("US", "USD", 2, 1.1, -300),
    _country("GB", "GBP", 2, 0.85, 0),
    _country("JP", "JPY", 0, 160.0, 540),
    _country("IN", "INR", 2, 95.0, 330),
    _country("FR", "EUR", 2, 1.0, 60),
    _country("CH", "CHF", 2, 0.95, 60),
    _country("BR", "BRL", 2, 6.0, -180),
    _country("KW", "KWD", 3, 0.34, 180),
)
CURRENCIES: Final = tuple(dict.fromkeys(country.currency for country in COUNTRIES))


class Invoice(NamedTuple):
    """What is true of one invoice throughout its life. Amounts in the smallest unit; `missing` in pieces."""

    invoice_id: str
    country: Country
    legal_entity_id: str
    payee_code: str
    terms_days: int
    channel: str
    amount: int
    matched: int
    price_variance: int
    missing: int
    traits: frozenset[Trait]


def draw_invoice(
    rng: Random, invoice_id: str, *, currencies: Sequence[str], legal_entities: int, payees: int
) -> Invoice:
    """One invoice. The first legal entities and payees are the busiest."""
    countries = [country for country in COUNTRIES if country.currency in currencies]
    entity = int(legal_entities * rng.random() ** 2)
    country = countries[entity % len(countries)]
    payee = int(payees * rng.random() ** 3)
    euros = MEDIAN_AMOUNT * 2.718281828459045 ** rng.gauss(0.0, AMOUNT_SPREAD)
    pieces = rng.randint(1, 60)
    piece = max(1, int(euros * country.units_per_euro * 10**country.digits) // pieces)
    dearer = _price_variance(rng, piece) if rng.random() < PRICE_VARIANCE_SHARE else 0
    missing = rng.randint(1, max(1, pieces // 8)) if rng.random() < QUANTITY_VARIANCE_SHARE else 0
    traits = {Trait.ANY}
    traits |= {Trait.PRICE_VARIANCE, Trait.VARIANCE} if dearer else set()
    traits |= {Trait.QUANTITY_VARIANCE, Trait.VARIANCE} if missing else set()
    traits |= {Trait.LARGE} if euros > LARGE_AMOUNT else set()
    return Invoice(
        invoice_id=invoice_id,
        country=country,
        legal_entity_id=f"LE-{country.code}-{entity + 1:03d}",
        payee_code=f"V{payee + 1:06d}",
        terms_days=PAYMENT_TERMS_DAYS[payee % len(PAYMENT_TERMS_DAYS)],
        channel=rng.choice(CHANNELS),
        amount=piece * pieces,
        matched=(piece - dearer) * (pieces - missing),
        price_variance=dearer * pieces,
        missing=missing,
        traits=frozenset(traits),
    )


def _price_variance(rng: Random, piece: int) -> int:
    """By how much one piece was invoiced above (or below) its ordered price."""
    return max(1, piece * rng.randint(1, 9) // 100) * rng.choice((1, 1, -1))


def decimal_text(smallest_units: int, digits: int) -> str:
    """`123456` with 2 digits is `1234.56`."""
    if digits == 0:
        return str(smallest_units)
    whole, rest = divmod(abs(smallest_units), 10**digits)
    return f"{'-' if smallest_units < 0 else ''}{whole}.{rest:0{digits}d}"


def document(invoice: Invoice, number: int, activity: Activity, occurred_us: int, invoice_date: date) -> dict[str, Any]:
    """The event as an upstream system would write it. `number` counts the steps of the invoice from 1."""
    country = invoice.country
    moment = datetime.fromtimestamp(occurred_us // 1_000_000, tz=UTC).replace(microsecond=occurred_us % 1_000_000)
    event: dict[str, Any] = {
        "event_id": f"{invoice.invoice_id}-{number:03d}",
        "source": f"{_SYSTEMS[activity.stage]}-{country.code.lower()}",
        "occurred_at": moment.astimezone(country.offset).isoformat(timespec="milliseconds"),
        "invoice_id": invoice.invoice_id,
        "stage": activity.stage,
        "payee_code": invoice.payee_code,
        "legal_entity_id": invoice.legal_entity_id,
        "invoice_date": invoice_date.isoformat(),
        "invoice_due_date": (invoice_date + timedelta(days=invoice.terms_days)).isoformat(),
        "invoice_amount": decimal_text(invoice.amount, country.digits),
        "currency": country.currency,
        "activity": activity.name,
    }
    for fact in activity.facts:
        event[fact] = _fact(invoice, fact)
    if activity.stage == INGESTION:
        event["attributes"] = {"channel": invoice.channel, "payment_terms": f"{invoice.terms_days}d"}
    return event


_SYSTEMS: Final = {
    "ingestion": "intake",
    "reconciliation": "purchasing",
    "authorization": "approvals",
    "posting": "ledger",
}


def _fact(invoice: Invoice, name: str) -> str:
    if name == "pqv":
        return str(invoice.missing)
    amount = {"ppv": invoice.price_variance, "matched_amount": invoice.matched, "authorized_amount": invoice.matched}
    return decimal_text(amount[name], invoice.country.digits)


encode: Final = msgspec.json.Encoder().encode
Mistake = Callable[[dict[str, Any]], bytes]


def _changed(**fields: object) -> Mistake:
    return lambda event: encode({**event, **fields})


def _without(*names: str) -> Mistake:
    return lambda event: encode({name: value for name, value in event.items() if name not in names})


MISTAKES: Final[tuple[Mistake, ...]] = (
    _without("event_id"),
    _without("currency"),
    _without("source", "occurred_at"),
    _changed(occurred_at="2026-02-29T12:00:00"),
    _changed(invoice_amount="1.234,56"),
    _changed(currency="euro"),
    _changed(invoice_due_date="31.12.2026"),
    _changed(amount_net="100.00"),
    _changed(invoice_id=""),
    lambda event: encode(event)[:-40],
)
