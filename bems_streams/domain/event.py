"""What an upstream system says happened to an invoice, decoded from JSON bytes.

Not here: what an invoice's state becomes (state.py), where bytes come from (adapters), which stages exist (journey.py).
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec

from bems_streams.domain.problems import Problem, Rejected, RejectionCode

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_EVENT_BYTES: Final = 64 * 1024
MAX_ATTRIBUTES: Final = 32
MAX_INTEGER_DIGITS: Final = 15
MAX_DECIMAL_PLACES: Final = 6

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Attributes = dict[
    Annotated[str, msgspec.Meta(min_length=1, max_length=64)],
    Annotated[str, msgspec.Meta(max_length=512)],
]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """One status change of one invoice. Amounts are exact decimals in `currency`; `occurred_at` carries an offset.

    Identity is `event_id` within `invoice_id`: the same pair is the same event, however often it arrives.
    """

    event_id: Identifier
    source: Identifier
    occurred_at: Instant
    invoice_id: Identifier
    stage: Identifier
    payee_code: ShortText | None = None
    legal_entity_id: ShortText | None = None
    invoice_date: date | None = None
    invoice_due_date: date | None = None
    invoice_amount: Decimal | None = None
    currency: Currency | None = None
    matched_amount: Decimal | None = None
    authorized_amount: Decimal | None = None
    ppv: Decimal | None = None
    pqv: Decimal | None = None
    activity: ShortText | None = None
    attributes: Attributes | None = None

    @property
    def occurred_us(self) -> int:
        """`occurred_at` in whole microseconds since 1970-01-01 UTC."""
        return microseconds(self.occurred_at)


MONEY_FIELDS: Final = ("invoice_amount", "matched_amount", "authorized_amount", "ppv")
DECIMAL_FIELDS: Final = (*MONEY_FIELDS, "pqv")

_decode = msgspec.json.Decoder(Event).decode
_DECIMAL_TEXT: Final = re.compile(r"^-?[0-9]+(\.[0-9]+)?\Z")


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970-01-01 UTC, exact (no float in between)."""
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def instant(moment_us: int) -> datetime:
    """The inverse of `microseconds`, in UTC."""
    seconds, rest = divmod(moment_us, 1_000_000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest)


def parse_event(raw: bytes) -> Event | Rejected:
    """Decode one JSON object. Returns every problem at once when it is not an event; never raises for bad input."""
    if len(raw) > MAX_EVENT_BYTES:
        return Rejected(
            RejectionCode.TOO_LARGE,
            (Problem("", f"{len(raw)} bytes; an event has at most {MAX_EVENT_BYTES}"),),
        )
    try:
        event = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _explain(raw)
    if event.currency is None and event.invoice_amount is None and not _has_decimals(event):
        return event
    problems = tuple(_rules(event))
    return Rejected(RejectionCode.INVALID, problems) if problems else event


def _has_decimals(event: Event) -> bool:
    return any(getattr(event, name) is not None for name in DECIMAL_FIELDS)


def _rules(event: Event) -> list[Problem]:
    """What types cannot say."""
    problems = [
        Problem(name, problem)
        for name in DECIMAL_FIELDS
        if (value := getattr(event, name)) is not None and (problem := _decimal_problem(value))
    ]
    if event.currency is None and any(getattr(event, name) is not None for name in MONEY_FIELDS):
        problems.append(Problem("currency", "required when an amount is given (three letters, ISO 4217)"))
    return problems


def _decimal_problem(value: Decimal) -> str | None:
    if not value.is_finite():
        return f"must be a finite decimal, got {value}"
    exponent = value.as_tuple().exponent
    if value.adjusted() >= MAX_INTEGER_DIGITS:
        return f"at most {MAX_INTEGER_DIGITS} digits before the decimal point"
    if isinstance(exponent, int) and exponent < -MAX_DECIMAL_PLACES:
        return f"at most {MAX_DECIMAL_PLACES} decimal places"
    return None


def _explain(raw: bytes) -> Rejected:
    """The slow path: decode field by field with the same types, so that it can never disagree with the fast one."""
    try:
        document: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejected(RejectionCode.NOT_JSON, (Problem("", f"not valid JSON: {error}"),))
    if not isinstance(document, dict):
        return Rejected(RejectionCode.INVALID, (Problem("", "an event is a JSON object"),))
    problems: list[Problem] = []
    valid: dict[str, Any] = {}
    for field in msgspec.structs.fields(Event):
        if field.name not in document:
            if field.required:
                problems.append(Problem(field.name, "required"))
            continue
        try:
            valid[field.name] = msgspec.convert(document[field.name], field.type)
        except msgspec.ValidationError as error:
            problems.append(_problem_of(field.name, str(error)))
    known = {field.name for field in msgspec.structs.fields(Event)}
    problems += [
        Problem(str(name), "unknown field; put extra facts into `attributes`") for name in document if name not in known
    ]
    decimals = {name: valid.get(name) for name in DECIMAL_FIELDS}
    for name, value in decimals.items():
        if value is not None and (problem := _decimal_problem(value)):
            problems.append(Problem(name, problem))
    if "currency" not in document and any(name in document for name in MONEY_FIELDS):
        problems.append(Problem("currency", "required when an amount is given (three letters, ISO 4217)"))
    if not problems:
        problems.append(Problem("", "not decodable as an event"))
    return Rejected(RejectionCode.INVALID, tuple(problems))


def _problem_of(name: str, message: str) -> Problem:
    """msgspec says `Expected ... - at `$.inner``: turn the inner path into one below the field's name."""
    text, _, where = message.partition(" - at `$")
    return Problem(name + where.rstrip("`"), text)
