"""No bytes make a healthy gateway fail."""

import asyncio
import gzip
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway_kit import JSON_HEADERS, Bench, encoded, event

GZIP_HEADERS = {**JSON_HEADERS, "content-encoding": "gzip"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(["invoice_amount", "attributes", "currency", "occurred_at", "stage", "event_id", "ppv", "x"])
near_events = st.dictionaries(fields, json_values, max_size=3).map(lambda changes: event() | changes)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(encoded),
    st.lists(near_events | json_values, max_size=5).map(encoded),
    near_events.map(encoded),
    st.tuples(near_events.map(encoded), st.integers(0, 120), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    ),
)


@given(body=bodies, headers=st.sampled_from([JSON_HEADERS, GZIP_HEADERS]))
def test_no_bytes_make_a_healthy_gateway_fail(body: bytes, headers: Mapping[str, str]) -> None:
    """Whatever comes, the sender is at fault or it is accepted, and as many are kept as were promised."""
    bench = Bench()

    reply = asyncio.run(bench.send(gzip.compress(body) if headers is GZIP_HEADERS else body, headers=headers))

    assert reply.status in {202, 207, 400}
    promised = reply.json.get("accepted", 1) if reply.status != 400 else 0
    assert len(bench.log.records) == promised


@given(body=st.binary(max_size=300))
def test_no_bytes_make_the_gzip_reader_fail(body: bytes) -> None:
    """Neither what claims to be gzip."""
    reply = asyncio.run(Bench().send(b"\x1f\x8b\x08\x00" + body, headers=GZIP_HEADERS))

    assert reply.status in {202, 207, 400}
