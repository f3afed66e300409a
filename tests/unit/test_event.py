"""From bytes to an event, or to everything that is wrong with them."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bems_streams.domain.event import (
    DECIMAL_FIELDS,
    MAX_EVENT_BYTES,
    MONEY_FIELDS,
    Event,
    instant,
    microseconds,
    parse_event,
)
from bems_streams.domain.failures import MAX_REASON_CHARS, InvalidEvent, NotJson, Poison, TooLarge

WHOLE: Final[dict[str, Any]] = {
    "event_id": "4f6d2c1e-0001",
    "source": "erp-emea",
    "occurred_at": "2025-10-09T08:15:30.250+02:00",
    "invoice_id": "INV-1",
    "stage": "authorization",
    "payee_code": "P-7",
    "legal_entity_id": "LE-42",
    "invoice_date": "2025-09-30",
    "invoice_due_date": "2025-11-29",
    "invoice_amount": "10482.30",
    "currency": "EUR",
    "matched_amount": "10480",
    "authorized_amount": "0.1",
    "ppv": "-2.300000",
    "pqv": "0",
    "activity": "approved",
    "attributes": {"plant": "4711"},
}
REQUIRED: Final = ("event_id", "source", "occurred_at", "invoice_id", "stage")
NO_TEXT: Final = [1, 1.5, True, [], {}, "", ["x"], 10**30]
NO_SHORT_TEXT: Final = [*NO_TEXT, "x" * 257]
NO_IDENTIFIER: Final = [*NO_TEXT, None, "x" * 129, "INV\x00", "INV\n", "\x7f", "INV\u200b1", "\u2028"]
NO_DATE: Final = [20250930, "2025-9-30", "30.09.2025", "2025-02-29", "2025-09-30T00:00:00Z", "", True, {}]
NO_AMOUNT: Final = [
    *[
        "",
        " 1",
        "1 ",
        "1_0",
        "+1",
        ".5",
        "5.",
        "1,5",
        "0x1",
        "NaN",
        "Infinity",
        "-Infinity",
        "\u0661",
        "01",
        "--1",
        "1e",
    ],
    *["1234567890123456", "0.1234567", "1e15", "1e-7", "1e999999", "1e9999999999", "9" * 500, "0." + "0" * 500],
    *[10**15, -(10**15), 10**30, 0.1234567, 1e16, True, False, [], {}, [0.12345678]],
]
WRONG: Final[dict[str, list[Any]]] = {
    **dict.fromkeys(("event_id", "source", "invoice_id", "stage"), NO_IDENTIFIER),
    **dict.fromkeys(("payee_code", "legal_entity_id", "activity"), NO_SHORT_TEXT),
    **dict.fromkeys(("invoice_date", "invoice_due_date"), NO_DATE),
    **dict.fromkeys(DECIMAL_FIELDS, NO_AMOUNT),
    "currency": [*NO_TEXT, "eur", "EURO", "E1R", "\u0415UR", "EU "],
    "occurred_at": [
        *["2025-10-09T08:15:30", "2025-10-09", "2025-13-09T08:15:30Z", "2016-12-31T23:59:60Z", "2025-10-09T24:00:00Z"],
        *["1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
        *["2025-02-29T00:00:00Z", "", "yesterday", 1760000000, 1.76e9, None, True, [], {}],
    ],
    "attributes": ["plant=4711", 1, [], {str(number): "" for number in range(33)}],
}


def payload(document: Any) -> bytes:
    """JSON as Python writes it."""
    return json.dumps(document).encode()


def accepted(raw: bytes) -> Event:
    """The event in it."""
    event = parse_event(raw)
    assert isinstance(event, Event), event
    return event


def refused(raw: bytes) -> Poison:
    """What is wrong with it."""
    rejected = parse_event(raw)
    assert isinstance(rejected, Poison), rejected
    assert rejected.problems
    assert all(problem.message for problem in rejected.problems)
    assert rejected.reason.isprintable()
    return rejected


def paths(raw: bytes) -> list[str]:
    """Where it is wrong."""
    return sorted(problem.path for problem in refused(raw).problems)


def test_a_whole_event_is_read_field_by_field() -> None:
    """Every field arrives with its exact value."""
    event = accepted(payload(WHOLE))

    assert event.occurred_at == datetime(2025, 10, 9, 8, 15, 30, 250_000, tzinfo=timezone(timedelta(hours=2)))
    assert (event.invoice_date, event.invoice_due_date) == (date(2025, 9, 30), date(2025, 11, 29))
    assert event.attributes == {"plant": "4711"}
    for name in DECIMAL_FIELDS:
        assert getattr(event, name) == WHOLE[name]
    for name in ("event_id", "source", "invoice_id", "stage", "payee_code", "legal_entity_id", "currency", "activity"):
        assert getattr(event, name) == WHOLE[name]


def test_five_fields_are_enough() -> None:
    """All else is optional, and null says the same as leaving it out."""
    least = {name: WHOLE[name] for name in REQUIRED}
    nulls = {name: None for name in WHOLE if name not in REQUIRED}

    assert accepted(payload(least)) == accepted(payload(least | nulls))


@settings(max_examples=300)
@given(st.data())
def test_every_problem_is_named_and_nothing_else(data: st.DataObject) -> None:
    """However many fields are wrong, missing or unknown, each is listed once, by path, and no good one is."""
    spoiled = data.draw(st.sets(st.sampled_from(sorted(WRONG)), max_size=6))
    dropped = data.draw(st.sets(st.sampled_from(sorted(WHOLE)), max_size=3)) - spoiled
    unknown = data.draw(st.sets(st.sampled_from(["colour", "amount", "Stage"]), max_size=2))
    document = {name: value for name, value in WHOLE.items() if name not in dropped}
    document |= {name: data.draw(st.sampled_from(WRONG[name]), label=name) for name in sorted(spoiled)}
    document |= dict.fromkeys(unknown, 1)
    document = dict(data.draw(st.permutations(list(document.items()))))

    expected = spoiled | unknown | (dropped & set(REQUIRED))
    sound_money = [name for name in MONEY_FIELDS if name not in spoiled | dropped]
    if "currency" in dropped and sound_money:
        expected |= {"currency"}

    if expected:
        assert paths(payload(document)) == sorted(expected)
    else:
        accepted(payload(document))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_each_wrong_value_is_refused(name: str, value: Any) -> None:
    """Every entry of the table above is wrong on its own."""
    assert paths(payload(WHOLE | {name: value})) == [name]


def test_each_bad_attribute_is_named() -> None:
    """Attributes are looked into one by one."""
    attributes = {"good": "x", "number": 1, "long": "x" * 513, "k" * 65: "x", "": "x", "deep": {"a": 1}}

    assert paths(payload(WHOLE | {"attributes": attributes})) == sorted(
        ["attributes.number", "attributes.long", "attributes." + "k" * 64, "attributes.", "attributes.deep"]
    )


decimal_texts = st.from_regex(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,6})?", fullmatch=True).filter(str.isascii)


@given(decimal_texts)
def test_amounts_are_exact_to_the_digit(text: str) -> None:
    """As a string or as a JSON number: no float in between, trailing zeros kept; only an integer -0 loses its sign."""
    as_string = accepted(payload(WHOLE | {"pqv": text})).pqv
    as_number = accepted(payload(WHOLE | {"pqv": 0}).replace(b'"pqv": 0', b'"pqv": %b' % text.encode())).pqv

    assert as_string == text
    assert as_number == text or (as_number, text) == ("0", "-0")


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.1", "0.1"), ("1e3", "1000"), ("1.50E+1", "15.0"), ("-12e-2", "-0.12"), ("1e-06", "0.000001"), ("0e5", "0")],
)
def test_json_numbers_with_an_exponent_are_written_out(number: str, text: str) -> None:
    """What a float formatter writes is read exactly, and kept in plain digits."""
    event = accepted(payload(WHOLE | {"ppv": 0}).replace(b'"ppv": 0', b'"ppv": %b' % number.encode()))

    assert event.ppv == text
    assert event.ppv is not None
    assert Decimal(event.ppv) == Decimal(number)


def test_an_amount_needs_a_currency() -> None:
    """Money without a currency is refused, a quantity is not money."""
    bare = {name: WHOLE[name] for name in REQUIRED}

    for name in MONEY_FIELDS:
        assert paths(payload(bare | {name: "1.00"})) == ["currency"]
        assert paths(payload(bare | {name: "1.00", "currency": None})) == ["currency"]
    accepted(payload(bare | {"pqv": "1"}))


@given(st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_business_time_is_exact_to_the_microsecond_whatever_the_offset(moment: datetime, offset_minutes: int) -> None:
    """The offset says when, and then no longer matters."""
    local = moment.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    event = accepted(payload(WHOLE | {"occurred_at": local.isoformat()}))

    assert instant(event.occurred_us) == local
    assert event.occurred_us == microseconds(local.astimezone(UTC))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf" + payload(WHOLE), "byte order mark"),
        (payload(WHOLE).decode().encode("utf-16"), "not UTF-8"),
        (payload(WHOLE).replace(b"INV-1", b"INV-\xff"), "not UTF-8"),
        (payload(WHOLE).replace(b"INV-1", b"\xed\xa0\x80"), "not UTF-8"),
        (payload(WHOLE).replace(b"INV-1", b"x\\ud800x"), "not valid JSON"),
        (payload(WHOLE).replace(b"INV-1", b"x\x01"), "not valid JSON"),
        (payload(WHOLE)[:-1], "not valid JSON"),
        (payload(WHOLE) + b"{}", "not valid JSON"),
        (payload(WHOLE | {"pqv": float("nan")}), "not valid JSON"),
        (payload(WHOLE | {"pqv": float("inf")}), "not valid JSON"),
        (b'{"pqv": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_not_json_is_named_so(raw: bytes, says: str) -> None:
    """The whole record is at fault, and the message says in what way."""
    rejected = refused(raw)

    assert rejected.code is NotJson.code
    assert [problem.path for problem in rejected.problems] == [""]
    assert says in rejected.reason


def test_no_depth_of_nesting_raises() -> None:
    """At any depth, also just before the reader's own limit, the answer is a refusal."""
    for depth in range(1, 1_200):
        refused(b'{"pqv": ' + b"[" * depth + b"]" * depth + b"}")


@pytest.mark.parametrize("document", [None, 1, "x", [], [WHOLE], True])
def test_only_an_object_is_an_event(document: Any) -> None:
    """Valid JSON of another kind is told apart from broken JSON."""
    rejected = refused(payload(document))

    assert (rejected.code, rejected.reason) == (InvalidEvent.code, "must be one JSON object")


def test_an_oversized_payload_is_refused_unread() -> None:
    """One byte too many is enough."""
    raw = payload(WHOLE)
    accepted(raw + b" " * (MAX_EVENT_BYTES - len(raw)))

    assert refused(raw + b" " * (MAX_EVENT_BYTES - len(raw) + 1)).code is TooLarge.code


def test_the_last_of_two_values_counts_and_a_wrong_first_one_is_not_forgiven() -> None:
    """A field given twice is read as most JSON readers do, unless one of its values is wrong."""
    assert accepted(payload(WHOLE)[:-1] + b', "stage": "posting"}').stage == "posting"
    assert "more than once" in refused(b'{"stage": 1, ' + payload(WHOLE)[1:]).reason


def test_a_record_full_of_nonsense_has_a_short_reason() -> None:
    """The reason fits into the header of a dead letter; the problems are complete all the same."""
    rejected = refused(payload({f"{number}\n": number for number in range(3_000)}))

    assert len(rejected.problems) == 3_000 + len(REQUIRED)
    assert rejected.reason.startswith("3005 problems: ")
    assert len(rejected.reason) < MAX_REASON_CHARS + 50


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(NO_AMOUNT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A good payload after an accident: replaced values, then changed, repeated or lost bytes."""
    document = WHOLE | draw(st.dictionaries(st.sampled_from(sorted(WHOLE)), json_values, max_size=3))
    raw = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 3))):
        at, until = sorted((draw(st.integers(0, len(raw))), draw(st.integers(0, len(raw)))))
        raw = draw(st.sampled_from([raw[:at] + raw[until:], raw[:until] + raw[at:], raw[:at] + b"\\" + raw[at + 1 :]]))
    return raw


def has_a_field_twice(raw: bytes) -> bool:
    """Whether any object in it names a key twice."""
    twice = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        twice = twice or len(dict(pairs)) < len(pairs)
        return dict(pairs)

    json.loads(raw, object_pairs_hook=look)
    return twice


@settings(max_examples=500)
@given(st.binary() | mangled())
def test_no_bytes_are_accepted_wrongly_refused_silently_or_raise(raw: bytes) -> None:
    """Any bytes give an event that survives a second look, or problems that are real."""
    result = parse_event(raw)

    if isinstance(result, Event):
        document = json.loads(raw, parse_float=Decimal)
        for name, value in document.items():
            assert getattr(result, name) is not None or value is None
            if name in DECIMAL_FIELDS and value is not None:
                assert Decimal(getattr(result, name)) == Decimal(value)
    elif "more than once" in refused(raw).reason:
        assert has_a_field_twice(raw)


def test_the_schema_for_others_knows_every_field() -> None:
    """What is published as JSON Schema has the patterns and forms that the decoder enforces."""
    schema = msgspec.json.schema(Event)["$defs"]["Event"]

    assert list(schema["properties"]) == list(WHOLE)
    assert schema["required"] == list(REQUIRED)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["pqv"]["anyOf"][0]["type"] == ["number", "string"]
    assert schema["properties"]["currency"]["anyOf"][0]["pattern"] == "^[A-Z]{3}$"
