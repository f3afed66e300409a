"""The histogram that takes a value many times at once, beside the one that takes it once."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from bems_streams.histogram import BulkHistogram

BUCKETS = (0.005, 0.25, 1, 120)


@given(
    st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.005, 0.0051, 0.25, 1.0, 64.5, 120.0, 121.0]), st.integers(1, 5)))
)
def test_it_is_scraped_as_if_each_value_had_come_alone(taken: list[tuple[float, int]]) -> None:
    """Dashboards and alert rules see no difference: same names, same buckets, same sum and count."""
    bulk, single = CollectorRegistry(), CollectorRegistry()
    ours = BulkHistogram("bems_seconds", "How long.", BUCKETS, bulk)
    theirs = Histogram("bems_seconds", "How long.", buckets=BUCKETS, registry=single)

    for value, times in taken:
        ours.observe(value, times)
        for _ in range(times):
            theirs.observe(value)

    said = [line for line in generate_latest(single).decode().splitlines() if "_created" not in line]
    numbers = [line.rpartition(" ") for line in generate_latest(bulk).decode().splitlines()]
    assert [name for name, _, _ in numbers] == [line.rpartition(" ")[0] for line in said]
    for (name, _, ours_text), line in zip(numbers, said, strict=True):
        if not name.startswith("#"):
            assert abs(float(ours_text) - float(line.rpartition(" ")[2])) < 1e-9, name
