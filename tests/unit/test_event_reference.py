"""The fast way to read an event against a slow one: plain hooks, no memory, every rule looked at every time."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bems_streams.domain.event import (
    DECIMAL_FIELDS,
    IDENTIFIERS,
    MONEY_FIELDS,
    Event,
    instant,
    instants,
    microseconds,
    parse_event,
)
from bems_streams.domain.failures import InvalidEvent, Poison
from tests.unit.test_event import NO_AMOUNT, WHOLE, mangled, payload

FIELDS = tuple(field.name for field in msgspec.structs.fields(Event))


class Slow(Decimal):
    """An amount as arithmetic knows it."""


def slow_amount(text: str) -> Slow:
    """By the JSON reader of Python, and by counting digits."""
    exponent = re.search("[eE](.*)", text)
    if text != text.strip() or type(json.loads(text, parse_int=Slow, parse_float=Slow)) is not Slow:
        raise ValueError(text)
    if exponent and len(exponent[1].lstrip("+-")) > 4:
        raise ValueError(text)
    whole, _, rest = format(Decimal(text), "f").lstrip("-").partition(".")
    if len(whole) > 15 or len(rest) > 6:
        raise ValueError(text)
    return Slow(format(Decimal(text), "f"))


def slow_hook(_: type, found: Any) -> Slow:
    """Of what msgspec found."""
    if type(found) in (str, int):
        return slow_amount(str(found))
    if type(found) is Slow:
        return found
    raise ValueError(found)


SlowEvent = msgspec.defstruct(
    "SlowEvent", [(name, Slow | None, None) for name in DECIMAL_FIELDS], bases=(Event,), kw_only=True, frozen=True
)
plainly = msgspec.json.Decoder(cast(type[Event], SlowEvent), dec_hook=slow_hook, float_hook=slow_amount).decode


def slowly(raw: bytes) -> Event | None:
    """The event, or None for what is none."""
    try:
        event = plainly(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    names = (event.event_id, event.source, event.invoice_id, event.stage)
    if not all(character.isprintable() for name in names for character in name):
        return None
    if event.currency is None:
        fine = all(getattr(event, name) is None for name in MONEY_FIELDS)
    else:
        fine = len(event.currency) == 3 and all("A" <= letter <= "Z" for letter in event.currency)
    return event if fine and 1970 <= event.occurred_at.year <= 2199 else None


def same_both_ways(raw: bytes) -> None:
    """Both read the same event, to the digit and the microsecond, or both refuse."""
    fast, slow = parse_event(raw), slowly(raw)
    if slow is None:
        assert isinstance(fast, Poison)
        return
    assert isinstance(fast, Event)
    for name in FIELDS:
        one, other = getattr(fast, name), getattr(slow, name)
        assert one == (str(other) if isinstance(other, Slow) else other)
    assert fast.occurred_us == microseconds(slow.occurred_at)


amounts = st.one_of(
    st.sampled_from(NO_AMOUNT),
    st.sampled_from([0, 1, "0", "1", "-0", "1.0", "1.00", "1e0", "1E2", True, False, None]),
    st.integers(-(10**16), 10**16),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-(10**6), 10**6, places=3).map(str),
)
moments = st.one_of(
    st.datetimes(datetime(1969, 12, 30), datetime(1970, 1, 3)),  # noqa: DTZ001
    st.datetimes(datetime(2199, 12, 29), datetime(2200, 1, 3)),  # noqa: DTZ001
    st.datetimes(datetime(2, 1, 1)),  # noqa: DTZ001
)
offsets = st.integers(-1439, 1439).map(
    lambda minutes: f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
)
occurred = st.builds(lambda moment, offset: moment.isoformat() + offset, moments, st.just("Z") | offsets)
texts = st.text(max_size=4) | st.sampled_from(["", "a\\b", "\x7f", "é", "\u200b", "EUR", "eur", "ÉUR", "\\"])


@settings(max_examples=500)
@given(
    st.dictionaries(st.sampled_from(DECIMAL_FIELDS), amounts),
    st.dictionaries(st.sampled_from(["event_id", "source", "invoice_id", "stage", "payee_code", "currency"]), texts),
    st.none() | occurred,
    st.booleans(),
)
def test_the_fast_way_reads_what_the_slow_way_reads(
    money: dict[str, Any], names: dict[str, str], at: str | None, ascii_only: bool
) -> None:
    """Amounts of any kind and form, names with any character, every offset, the edges of what years may be."""
    document = WHOLE | money | names | ({} if at is None else {"occurred_at": at})

    same_both_ways(json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@settings(max_examples=500)
@given(st.binary() | mangled())
def test_no_bytes_are_read_in_two_ways(raw: bytes) -> None:
    """Nor does an accident to the bytes tell them apart."""
    same_both_ways(raw)


@pytest.mark.parametrize("name", IDENTIFIERS)
@pytest.mark.parametrize("character", ["\x7f", "\x80", "\u200b", "\n", "\x00", "é", "\\", "~", " "])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_character_counts_the_same_escaped_or_not(name: str, character: str, ascii_only: bool) -> None:
    """Each of those that may not be in a name, and the nearest that may, in every way to write it."""
    same_both_ways(json.dumps(WHOLE | {name: f"A{character}1"}, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize("day", ["1969-12-31", "1970-01-01", "1970-01-02", "2199-12-30", "2199-12-31", "2200-01-01"])
@pytest.mark.parametrize("time", ["00:00:00", "12:00:00", "23:59:59.999999"])
@pytest.mark.parametrize("offset", ["Z", "+00:00", "-00:00", "+23:59", "-23:59", "+14:00", "-12:00"])
def test_the_first_and_the_last_year_are_those_of_the_sender(day: str, time: str, offset: str) -> None:
    """Its own year counts, not the one in UTC."""
    same_both_ways(payload(WHOLE | {"occurred_at": f"{day}T{time}{offset}"}))


@pytest.mark.parametrize("name", [*DECIMAL_FIELDS, "invoice_date"])
@pytest.mark.parametrize("wrong", [b"true", b"[]", b"{}", b'"1,5"', b"0.12345678"])
def test_a_wrong_value_is_not_forgiven_for_a_right_one_after_it(name: str, wrong: bytes) -> None:
    """The last of two values counts, but both are looked at."""
    rejected = parse_event(b'{"%b": %b, %b' % (name.encode(), wrong, payload(WHOLE)[1:]))

    assert isinstance(rejected, InvalidEvent)
    assert "more than once" in rejected.reason


def test_true_is_not_one() -> None:
    """Kinds are kept apart which Python calls equal."""
    for number, truth in ((0, False), (1, True)):
        assert isinstance(parse_event(payload(WHOLE | {"pqv": number})), Event)
        assert isinstance(parse_event(payload(WHOLE | {"pqv": truth})), Poison)


def test_amounts_of_equal_value_keep_their_own_digits() -> None:
    """1.0 is not written 1.00, whichever was read before."""
    for text in ("1.00", "1.0", "1", "1.000", "1.0"):
        event = parse_event(payload(WHOLE | {"pqv": text}))
        assert isinstance(event, Event)
        assert event.pqv == text


@pytest.mark.parametrize("value", [1, "1", None, 1.5, [1], {}, True])
def test_the_time_in_microseconds_cannot_be_sent(value: Any) -> None:
    """It is counted, not read: a field of that name is as unknown as any other."""
    rejected = parse_event(payload(WHOLE | {"occurred_us": value}))

    assert isinstance(rejected, Poison)
    assert rejected.reason == "occurred_us: unknown field: put it into `attributes`"


moments_us = st.integers(-86_400_000_000, 7_258_118_400_000_000) | st.integers(
    -(10**15), microseconds(datetime.max.replace(tzinfo=UTC))
)


@settings(max_examples=300)
@given(st.lists(moments_us, min_size=1, max_size=20))
def test_many_instants_are_the_same_as_one_by_one(many_us: list[int]) -> None:
    """Exact to the microsecond, in UTC, near and far."""
    found = instants(many_us)

    assert found == [instant(moment_us) for moment_us in many_us]
    assert [microseconds(moment) for moment in found] == many_us
    assert {moment.tzinfo for moment in found} == {UTC}


def test_no_float_loses_a_microsecond_before_2200() -> None:
    """The last microseconds of seconds, where a float would round first, all along the range."""
    many_us = [
        second * 1_000_000 + rest_us
        for second in range(0, 7_258_118_400, 7_258_118_400 // 20_000)
        for rest_us in (1, 499_999, 999_998, 999_999)
    ]

    assert instants(many_us) == [instant(moment_us) for moment_us in many_us]
