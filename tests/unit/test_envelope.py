"""The envelope of a record in a lane or among the dead letters: the record itself, unchanged, then its story."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.domain.failures import BadEnvelope
from bems_streams.flows.envelope import FIRST, MAX_REASON_BYTES, Passage, disclose, enclose, trace_id
from bems_streams.ports import Coordinates, OutRecord, RawRecord
from tests.unit.flow_kit import START_US, raw

PASSAGE = Passage(
    agent="sink",
    code="store_refused",
    reason="amount: sonst größer",
    attempts=2,
    redrives=1,
    run="20260302T083011-7f3a",
    first_failed_us=START_US + 10,
    failed_us=START_US + 20,
    not_before_us=START_US + 60_000_020,
    cell="c1",
    region="eu",
)
OURS = [
    (FIRST, b"invoices.posting"),
    ("bems-origin-partition", b"7"),
    ("bems-origin-offset", b"42"),
    ("bems-accepted-at", b"2025-10-09T08:53:20.000005+00:00"),
    ("bems-agent", b"sink"),
    ("bems-code", b"store_refused"),
    ("bems-reason", "amount: sonst größer".encode()),
    ("bems-attempts", b"2"),
    ("bems-redrives", b"1"),
    ("bems-redrive-run", b"20260302T083011-7f3a"),
    ("bems-first-failed-at", b"2025-10-09T08:53:20.000010+00:00"),
    ("bems-failed-at", b"2025-10-09T08:53:20.000020+00:00"),
    ("bems-not-before", b"2025-10-09T08:54:20.000020+00:00"),
    ("bems-cell", b"c1"),
    ("bems-region", b"eu"),
]
RECORD = raw(b"value", 42, key=b"key", topic="invoices.posting", partition=7, accepted_us=START_US + 5)

names = st.text(max_size=9) | st.sampled_from([name for name, _ in OURS])
headers = st.lists(st.tuples(names, st.binary(max_size=9) | st.sampled_from([value for _, value in OURS])), max_size=20)
content = st.none() | st.binary(max_size=50)
moments_us = st.integers(0, 4_102_444_800_000_000)  # to the year 2100
counts = st.integers(0, 2**63 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
records = st.builds(
    RawRecord, st.builds(Coordinates, texts, counts, counts), content, content, headers, accepted_us=moments_us
)
passages = st.builds(
    Passage, texts, texts, texts, counts, counts, texts, moments_us, moments_us, moments_us, texts, texts
)


def read(made: OutRecord, offset: int = 0, *, headers: object = None) -> RawRecord:
    """The record as the next reader of its topic gets it: from a lane of the same partition number."""
    given_headers = made.headers if headers is None else headers
    return raw(
        made.value,
        offset,
        key=made.key,
        topic=made.topic,
        partition=made.partition or 0,
        headers=given_headers,  # type: ignore[arg-type]  # tests also hand in what the log may hold and types forbid
    )


def broken(**changes: bytes) -> RawRecord:
    """A record in a lane with other values in some of our headers."""
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    assert changed.keys() <= dict(OURS).keys()
    return raw(b"value", topic="lane", partition=7, headers=[*(dict(OURS) | changed).items()])


def test_it_says_where_the_record_came_from_what_happened_and_when_it_is_due() -> None:
    """By headers, so that key and value stay what they were; on the partition number it has, with the same worker."""
    made = enclose(RECORD, PASSAGE, "invoices.sink.retry-2")

    assert (made.topic, made.key, made.value, made.partition) == ("invoices.sink.retry-2", b"key", b"value", 7)
    assert list(made.headers) == OURS


@given(records, passages)
def test_what_was_enclosed_is_disclosed_unchanged(record: RawRecord, passage: Passage) -> None:
    """Any key, bytes and headers, also repeated, odd, missing ones, and ones that imitate ours."""
    made = enclose(record, passage, "lane")
    disclosed = disclose(read(made))

    assert disclosed == (record, passage)
    assert made.partition == record.at.partition


@given(records, passages, passages)
def test_a_record_that_fails_again_keeps_its_origin_and_does_not_grow(
    record: RawRecord, first: Passage, second: Passage
) -> None:
    """However often it goes round, there is one set of our headers: the newest."""
    disclosed = disclose(read(enclose(record, first, "lane-1"), 9))
    assert not isinstance(disclosed, BadEnvelope)

    again = enclose(disclosed[0], second, "lane-2")

    assert again == enclose(record, second, "lane-2")


@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_a_long_reason_is_cut_between_characters(character: str) -> None:
    """A header that is not UTF-8 breaks the tools that people read dead letters with at night."""
    made = enclose(RECORD, PASSAGE._replace(reason=character * 10_000), "t")

    reason = dict(made.headers)["bems-reason"] or b""
    assert MAX_REASON_BYTES - 4 < len(reason) <= MAX_REASON_BYTES
    assert set(reason.decode("utf-8")) == {character}


def test_a_reason_that_is_no_text_is_still_sent() -> None:
    """Half a surrogate pair, as JSON allows it in the value that a reason quotes."""
    made = enclose(RECORD, PASSAGE._replace(reason="is '\ud800'"), "t")

    assert dict(made.headers)["bems-reason"] == b"is '?'"


@pytest.mark.parametrize("name", [name for name, _ in OURS])
@pytest.mark.parametrize("damage", ["missing", "void", "not text"])
def test_a_record_in_a_lane_that_lacks_one_of_our_headers_is_refused(name: str, damage: str) -> None:
    """Missing, without a value, or no text: the agent goes on, and the reason says what is wrong."""
    values: dict[str, list[tuple[str, bytes | None]]] = {
        "missing": [],
        "void": [(name, None)],
        "not text": [(name, b"\xff")],
    }
    others = [header for header in OURS if header[0] != name]
    at = [key for key, _ in OURS].index(name)

    refused = disclose(read(enclose(RECORD, PASSAGE, "lane"), headers=[*others[:at], *values[damage], *others[at:]]))

    assert isinstance(refused, BadEnvelope)
    assert "bems-" in refused.reason


@pytest.mark.parametrize(
    "record",
    [
        raw(b"value", topic="lane"),
        raw(None, topic="lane", key=None, headers=[("correlation-id", b"c-1")]),
        broken(bems_origin_partition=b"-1"),
        broken(bems_origin_offset=b"-1"),
        broken(bems_origin_offset=str(2**63).encode()),
        broken(bems_origin_offset=b"9" * 5000),
        broken(bems_origin_offset=b"1e3"),
        broken(bems_attempts=b"many"),
        broken(bems_attempts=b"-1"),
        broken(bems_redrives=b""),
        broken(bems_accepted_at=b"yesterday"),
        broken(bems_accepted_at=b"2026-03-02"),
        broken(bems_failed_at=b"2026-03-02T08:30:11"),
        broken(bems_not_before=b"10000-01-01T00:00:00+00:00"),
    ],
    ids=lambda record: str(dict(record.headers))[:60],
)
def test_a_record_that_no_agent_can_have_put_into_a_lane_is_refused(record: RawRecord) -> None:
    """Whoever may write to the topic cannot stop the agent: numbers out of range, times without offset, nothing."""
    assert isinstance(disclose(record), BadEnvelope)


@given(headers, content, content)
def test_nothing_in_a_lane_raises(headers: list[tuple[str, bytes]], key: bytes | None, value: bytes | None) -> None:
    """It is disclosed, or refused."""
    record = raw(value, key=key, topic="lane", headers=headers)

    disclosed = disclose(record)

    assert isinstance(disclosed, BadEnvelope) or disclosed[0].headers == headers[: len(disclosed[0].headers)]


def test_the_trace_id_is_the_first_one_and_survives_the_envelope() -> None:
    """What links a dead letter to the request that brought it; odd bytes do not hide it."""
    traced = RECORD._replace(headers=[("other", b"x"), ("correlation-id", b"c-\xff"), ("correlation-id", b"c-2")])

    assert trace_id(traced.headers) == trace_id(enclose(traced, PASSAGE, "t").headers) == "c-\N{REPLACEMENT CHARACTER}"
    assert trace_id(RECORD.headers) is None
