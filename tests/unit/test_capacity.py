"""The computation of what a cell needs: by hand, by its direction, at its limits."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bems_streams.capacity.demand import Demand
from bems_streams.capacity.figure import Section
from bems_streams.capacity.inputs import InputError, Inputs, default_inputs, parse_values
from bems_streams.capacity.plan import plan
from bems_streams.capacity.roles import gateway_cpu_us

BY_HAND = {
    "utilisation": 0.5,
    "gateway_idle_cores": 0.02, "tracker_idle_cores": 0.1, "sink_idle_cores": 0.25, "ledger_idle_cores": 0.1,
    "console_idle_cores": 0.01,
    "gateway_cpu_us": 100, "gateway_batch_cpu_us": 100, "tracker_cpu_us": 20, "sink_cpu_us": 500, "ledger_cpu_us": 10,
    "broker_cpu_us": 50, "store_server_cpu_us": 5, "event_log_bytes": 500, "status_record_bytes": 800,
    "status_bytes_per_event": 400, "changelog_record_bytes": 300, "changelog_bytes_per_event": 200,
    "account_bytes_per_event": 100, "table_bytes_per_invoice": 400, "store_bytes_per_event": 1000,
    "store_bytes_per_invoice": 2000, "tracker_rss_bytes": 4e8, "table_memory_bytes": 1e8,
    "restore_rows_per_second": 100_000,
    "replica_cpu_share": 0.5, "archive_bytes_per_event": 50, "core_hour": 0.05, "broker_hour": 0.2,
    "broker_gb_month": 0.1, "disk_gb_month": 0.1, "archive_gb_month": 0.02, "zone_gb": 0.02, "zone_crossing_share": 0.5,
}  # fmt: skip
DEMAND = Demand(rate=2000, invoices=40e6, retention_days=10)


@pytest.fixture
def inputs() -> Inputs:
    """Round figures."""
    return default_inputs().changed(BY_HAND, "by hand")


def test_a_cell_computed_by_hand(inputs: Inputs) -> None:
    """2,000 events/s, 40 M open invoices, 10 days: 1.728 G events are kept."""
    found = plan(DEMAND, inputs)

    amounts = {f"{each.section}: {each.name}": each.value for each in found.figures}
    bounds = {f"{each.section}: {each.name}": each.bound for each in found.figures}
    expected = {
        "processes: gateway": (2, "least"),
        "processes: tracker": (4, "open invoices"),
        "processes: sink": (4, "CPU"),  # 500 events/s each: a quarter of a core is left for events
        "cores: gateway": (2 * 0.25, "least of a process"),
        "cores: sink": ((1.0 + 4 * 0.25) / 0.5, "CPU"),
        "cores: store": (0.02, "CPU of the database server"),
        "memory: tracker": (4 * 5e8, "processes x peak memory"),
        "brokers: brokers": (3, "copies"),
        "brokers: their cores in use": (2000 * 50e-6 * 2, "CPU, all copies"),
        "brokers: partitions of a topic": (12, "least"),
        "disk: stage topics": (1.728e9 * 500 * 3, "retention x copies"),
        "disk: ledger topic": (1.728e9 * 100 * 3, "retention x copies"),
        "disk: status topic": (40e6 * 800 * 3 * 1.5, "open invoices x copies"),
        "disk: changelog": (40e6 * 300 * 3 * 1.5, "open invoices x copies"),
        "disk: tables of trackers": (16e9, "open invoices"),
        "disk: store": (2 * (2000 * 30 * 86_400 * 1000 + 40e6 * 2000), "30 days of events x copies"),
        "disk: archive (estimate)": (2000 * 365 * 86_400 * 50, "365 days of events"),
        "network: written to brokers": (2000 * 1200, "events, status, changelog, ledger"),
        "network: between brokers": (2000 * 1200 * 2, "copies"),
        "network: read from brokers": (2000 * (500 * 3 + 400 * 2 + 100), "tracker, sink, 1 downstream"),
        "times: to restore a tracker's empty disk": (100, "open invoices of one tracker"),
        # four sinks take 6,000 events/s: 1.2 M events of 10 minutes drain at 4,000/s
        "times: to catch up after 10 min away": (300, "sink"),
    }
    assert {name: amounts[name] for name in expected} == pytest.approx(
        {name: each[0] for name, each in expected.items()}
    )
    assert {name: bounds[name] for name in expected} == {name: each[1] for name, each in expected.items()}
    assert found.warnings == []


def test_a_month_and_a_million_events_cost_what_their_parts_cost(inputs: Inputs) -> None:
    """Each part is an amount times its price; a million events are a share of the month's."""
    found = plan(DEMAND, inputs)

    costs = {each.name: each.value for each in found.figures if each.section is Section.COST}
    cores = sum(each.value for each in found.figures if each.section is Section.CORES)
    assert costs["processes and store"] == pytest.approx(cores * 0.05 * 730)
    assert costs["brokers"] == pytest.approx(3 * 0.2 * 730)
    assert costs["disk of brokers"] == pytest.approx((2592 + 518.4 + 144 + 54) * 0.1)
    assert costs["traffic between zones"] == pytest.approx(2000 * (1200 + 2400) * 0.5 * 2_628_000 / 1e9 * 0.02)
    parts = [value for name, value in costs.items() if name not in ("one cell", "all cells", "1 M events")]
    assert costs["one cell"] == pytest.approx(sum(parts))
    assert costs["1 M events"] == pytest.approx(costs["one cell"] / (2000 * 2_628_000 / 1e6))


ONLY_GROW = [section for section in Section if section not in (Section.TIMES, Section.COST)]


@given(
    st.floats(1, 9_000), st.floats(1, 90e6), st.floats(1, 300), st.floats(1, 1.1), st.floats(1, 1.1), st.floats(1, 1.1)
)
def test_more_events_invoices_or_days_never_need_less(
    rate: float, invoices: float, days: float, more: float, more_invoices: float, more_days: float
) -> None:
    """Within one cell: each amount grows or stays. Partitions are rounded to the trackers, and may fall a little."""
    inputs = default_inputs()

    small = plan(Demand(rate, invoices, days), inputs)
    large = plan(Demand(rate * more, invoices * more_invoices, days * more_days), inputs)

    assert [f"{one.section}: {one.name}" for one, other in zip(small.figures, large.figures, strict=True)
            if one.section in ONLY_GROW and one.name != "partitions of a topic" and one.value > other.value * (1 + 1e-9)
            ] == []  # fmt: skip
    assert small.value(Section.COST, "one cell") <= large.value(Section.COST, "one cell") * (1 + 1e-9)


@given(st.floats(1, 1e6), st.floats(1, 1e10))
def test_beyond_the_limits_of_a_cell_there_are_more_cells(rate: float, invoices: float) -> None:
    """Each within the limits, all together as much as was asked for; and it is said."""
    inputs = default_inputs()
    demand = Demand(rate, invoices, 30)

    found = plan(demand, inputs)

    one = demand.of_one_cell(inputs)
    assert found.cells == max(1, ceil(rate / 10_000), ceil(invoices / 100e6))
    assert one.rate * found.cells == pytest.approx(rate)
    assert one.rate <= 10_000 * (1 + 1e-9)
    assert one.invoices <= 100e6 * (1 + 1e-9)
    assert any("of one cell" in warning for warning in found.warnings) == (found.cells > 1)
    assert found.value(Section.COST, "all cells") == pytest.approx(found.cells * found.value(Section.COST, "one cell"))


def test_every_partition_has_one_tracker_and_each_tracker_as_many(inputs: Inputs) -> None:
    """Seven trackers take 14 partitions, not 12."""
    found = plan(Demand(1000, 70e6, 30), inputs)

    assert found.value(Section.PROCESSES, "tracker") == 7
    assert found.value(Section.BROKERS, "partitions of a topic") == 14


def test_more_workers_than_partitions_are_warned_of(inputs: Inputs) -> None:
    """A topic has 99 at most: such a cell has to be two."""
    slow = inputs.changed({"sink_cpu_us": 3000}, "slow store")

    found = plan(Demand(9000, 1e6, 30), slow)

    assert found.value(Section.PROCESSES, "sink") == 108
    assert any(warning.startswith("108 processes of the sink need as many partitions") for warning in found.warnings)


def test_a_watch_that_cannot_keep_up_is_warned_of(inputs: Inputs) -> None:
    """The ledger's watch is one process, whatever the rate."""
    quiet, busy = plan(DEMAND, inputs), plan(DEMAND, inputs.changed({"ledger_cpu_us": 300}, "slow"))

    assert not any("watch" in warning for warning in quiet.warnings)
    assert any("verifies 3,000 events/s at most" in warning for warning in busy.warnings)
    assert busy.value(Section.PROCESSES, "ledger") == 1


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        ({"broker_cpu_us": 2000}, "CPU"),
        ({"event_log_bytes": 50_000}, "disk"),
        ({"broker_network_bytes": 1e6}, "network"),
    ],
)
def test_brokers_come_in_multiples_of_zones_and_say_what_bounds_them(
    inputs: Inputs, change: dict[str, float], bound: str
) -> None:
    """Three zones, three copies: six or nine, never seven."""
    figure = next(each for each in plan(DEMAND, inputs.changed(change, "more")).figures if each.name == "brokers")

    assert figure.value > 3
    assert figure.value % 3 == 0
    assert figure.bound == bound


@pytest.mark.parametrize(("events", "cost_us"), [(1, 60.0), (100, 10.0), (2, 10.0 - 50 / 99 + 50 * 100 / 99 / 2)])
def test_the_gateway_costs_a_part_for_the_request_and_a_part_for_the_event(events: int, cost_us: float) -> None:
    """Both measured sizes of requests come out as measured."""
    inputs = default_inputs().changed(
        {"gateway_cpu_us": 60, "gateway_batch_cpu_us": 10, "events_per_request": events}, "by hand"
    )

    assert gateway_cpu_us(inputs) == pytest.approx(cost_us)


def test_every_input_says_what_it_is_and_where_it_is_from() -> None:
    """A figure without a source cannot be argued about."""
    inputs = default_inputs()

    assert all(each.unit and len(each.meaning) > 5 and len(each.source) > 5 for each in inputs.all.values())
    assert inputs.changed({name: each.value for name, each in inputs.all.items()}, "the same") is not None


def test_every_input_that_cannot_be_is_named_at_once() -> None:
    """With what is wrong with it."""
    wrong = {"no_such": 1.0, "tracker_cpu_us": -1.0, "utilisation": 1.0, "mean_share_of_peak": 1.5, "replication": 0.0}

    with pytest.raises(InputError) as caught:
        default_inputs().changed({**wrong, "zones": float("nan")}, "wrong")

    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [*wrong, "zones"]


def test_values_are_read_by_name() -> None:
    """Those that are not NAME=NUMBER are told, the others taken."""
    values, problems = parse_values(["a=1.5", "b", "c=x"])

    assert values == {"a": 1.5}
    assert problems == ["b: write NAME=NUMBER", "c: 'x' is not a number"]
