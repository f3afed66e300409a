"""The stored form of an invoice: round trips, older formats, newer formats, garbage."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.codec import (
    MIGRATIONS,
    VERSION,
    CorruptStateError,
    NewerStateError,
    TrackedInvoice,
    decode_tracked,
    decode_watched,
    encode_tracked,
)
from bems_streams.domain.state import Facts, InvoiceState, StageRecord, Step

moments_us = st.integers(-(2**62), 2**62)
codes = st.integers(0, 255)
digests = st.integers(0, 2**64 - 1)
states = st.builds(
    InvoiceState,
    seen=st.lists(digests, max_size=20),
    stages=st.dictionaries(codes, st.builds(StageRecord, st.integers(1, 1000), moments_us, moments_us, moments_us)),
    stage=codes,
    stay=st.lists(st.builds(Step, moments_us, digests, moments_us), max_size=5),
    before=st.tuples(moments_us, codes, digests),
    facts=st.lists(
        st.builds(Facts, moments_us, codes, digests, st.lists(st.none() | st.text(), min_size=10, max_size=10)),
        max_size=3,
    ),
)
tracked_invoices = st.builds(TrackedInvoice, st.integers(0, 2**40), moments_us, codes, moments_us, moments_us, states)


@given(tracked_invoices)
def test_what_is_stored_comes_back_equal(tracked: TrackedInvoice) -> None:
    """Decoding what was encoded gives the same value, and encoding that gives the same bytes."""
    raw = encode_tracked(tracked)
    assert decode_tracked(raw) == tracked
    assert encode_tracked(decode_tracked(raw)) == raw


@given(tracked_invoices)
def test_its_deadlines_are_the_same_when_only_they_are_read(tracked: TrackedInvoice) -> None:
    """Passing over the rest changes nothing of what is read."""
    watched = decode_watched(encode_tracked(tracked))

    for name in ("revision", "deadline_us", "alerted_stage", "alerted_entered_us", "alerted_deadline_us"):
        assert getattr(watched, name) == getattr(tracked, name)
    assert (watched.state.stage, watched.state.stay) == (tracked.state.stage, tracked.state.stay)
    if tracked.state.stay:
        assert watched.state.entered_us == tracked.state.entered_us


@given(st.binary(max_size=60))
def test_its_deadlines_are_refused_as_the_whole_is(raw: bytes) -> None:
    """The same error for the same bytes, except that damage in what is passed over is not seen."""
    try:
        decode_watched(raw)
    except (CorruptStateError, NewerStateError) as error:
        with pytest.raises(type(error)):
            decode_tracked(raw)


def test_the_first_byte_is_the_format_version() -> None:
    """Every stored state says which format it has."""
    assert encode_tracked(TrackedInvoice.new())[0] == VERSION


def test_every_earlier_format_has_a_step() -> None:
    """No release leaves the state of an earlier one unreadable."""
    assert sorted(MIGRATIONS) == list(range(1, VERSION))


def test_older_formats_are_migrated_step_by_step() -> None:
    """A state two formats old passes through both steps, in order."""
    current = TrackedInvoice(7, 0, 0, 0, 0, InvoiceState())
    body = encode_tracked(current)[1:]
    raw = b"\x01" + body + b"second" + b"first"

    tracked = decode_tracked(
        raw, {1: lambda old: old.removesuffix(b"first"), 2: lambda old: old.removesuffix(b"second")}, version=3
    )

    assert tracked == current


def test_a_realistic_step_adds_a_field() -> None:
    """A format that did not keep when the alerted stage was entered gains it, from the stay's events."""

    def add_alerted_entered(body: bytes) -> bytes:
        revision, deadline_us, alerted_stage, alerted_deadline_us, state = msgspec.msgpack.decode(
            body, type=tuple[int, int, int, int, InvoiceState]
        )
        entered_us = state.entered_us if alerted_stage else 0
        return msgspec.msgpack.encode(
            [revision, deadline_us, alerted_stage, entered_us, alerted_deadline_us, state],
        )

    state = InvoiceState(seen=[5], stage=2, stay=[Step(1, 5, 20)])
    stored = b"\x01" + msgspec.msgpack.encode([3, 0, 2, 900, state])

    tracked = decode_tracked(stored, {1: add_alerted_entered}, version=2)

    assert tracked == TrackedInvoice(3, 0, 2, 20, 900, state)


def test_a_step_that_forgets_a_field_is_found_out() -> None:
    """A faulty step is refused, rather than its gap being read as a default."""
    body = msgspec.msgpack.encode([3, 0, 2, 900, InvoiceState()])
    with pytest.raises(CorruptStateError):
        decode_tracked(b"\x01" + body, {1: lambda old: old}, version=2)


def test_an_alert_is_remembered_as_it_went_out_and_forgotten_whole() -> None:
    """What an alert said stays known after the invoice has moved on, until it is forgotten."""
    tracked = TrackedInvoice(1, 0, 0, 0, 0, InvoiceState(seen=[5], stage=2, stay=[Step(1, 5, 20), Step(3, 6, 10)]))

    tracked.note_alert(deadline_us=900)
    assert (tracked.alerted_stage, tracked.alerted_entered_us, tracked.alerted_deadline_us) == (2, 10, 900)

    tracked.forget_alert()
    assert (tracked.alerted_stage, tracked.alerted_entered_us, tracked.alerted_deadline_us) == (0, 0, 0)


def test_a_newer_format_is_refused_with_the_way_out() -> None:
    """A worker rolled back too far stops and says so, rather than misreading what a later release wrote."""
    raw = bytes([VERSION + 1]) + encode_tracked(TrackedInvoice.new())[1:]
    with pytest.raises(NewerStateError, match=r"newer release of the worker.*do not delete"):
        decode_tracked(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" + encode_tracked(TrackedInvoice.new())[1:],
        bytes([VERSION]),
        bytes([VERSION]) + b"\xc1",
        encode_tracked(TrackedInvoice.new()) + b"\x00",
        bytes([VERSION]) + msgspec.msgpack.encode([1, 2, 3]),
        bytes([VERSION]) + msgspec.msgpack.encode([1, 2, 3, 4, 5, InvoiceState(), "one too many"]),
        bytes([VERSION]) + msgspec.msgpack.encode({"revision": 1}),
    ],
)
def test_garbage_is_refused_with_the_way_out(raw: bytes) -> None:
    """Bytes that no release wrote are named as such, and the message says how to rebuild."""
    with pytest.raises(CorruptStateError, match="restores the table from the changelog"):
        decode_tracked(raw)


def test_garbage_of_an_older_format_is_refused() -> None:
    """A migration step that meets garbage reports garbage, not a crash of its own."""

    def step(body: bytes) -> bytes:
        return msgspec.msgpack.encode(msgspec.msgpack.decode(body))

    with pytest.raises(CorruptStateError):
        decode_tracked(b"\x01\xc1", {1: step}, version=2)


@given(st.binary())
def test_no_bytes_at_all_raise_anything_else(raw: bytes) -> None:
    """Whatever is on disk, the answer is a value or a typed error."""
    try:
        decode_tracked(raw)
    except (CorruptStateError, NewerStateError):
        return


@given(tracked_invoices, st.data())
def test_cut_off_bytes_are_refused(tracked: TrackedInvoice, data: st.DataObject) -> None:
    """A torn write never decodes into something plausible."""
    raw = encode_tracked(tracked)
    with pytest.raises(CorruptStateError):
        decode_tracked(raw[: data.draw(st.integers(0, len(raw) - 1))])
