"""Made-up invoices: repeatable, realistic, and true to what the scenario says of them."""

import json
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from itertools import pairwise
from statistics import median

import pytest

from bems_streams.domain.event import Event, microseconds, parse_event
from bems_streams.domain.failures import Poison
from bems_streams.domain.fold import fold
from bems_streams.domain.state import InvoiceState
from bems_streams.local.simulator import (
    Kind,
    Scenario,
    SimulatedEvent,
    fit_to_events,
    ground_truth,
    simulate,
)
from bems_streams.local.simulator_calendar import closing_date, day_weight
from bems_streams.local.simulator_journeys import STAGES
from bems_streams.local.simulator_payloads import COUNTRIES, MISTAKES, PAYMENT_TERMS_DAYS, decimal_text
from bems_streams.topics import load_catalogue

MARCH = microseconds(datetime(2026, 3, 1, tzinfo=UTC))
SCENARIO = Scenario(seed=7, start_us=MARCH, days=31, invoices=1_500)
VALID = (Kind.ON_TIME, Kind.LATE, Kind.REORDERED)


@cache
def sent() -> Sequence[SimulatedEvent]:
    return tuple(simulate(SCENARIO))


@cache
def parsed() -> Sequence[tuple[SimulatedEvent, Event]]:
    """What is valid, in sending order."""
    pairs = [(simulated, parse_event(simulated.raw)) for simulated in sent() if simulated.kind is not Kind.INVALID]
    return tuple((simulated, event) for simulated, event in pairs if isinstance(event, Event))


@cache
def folded() -> Mapping[str, InvoiceState]:
    """What the tracker would know in the end."""
    journey = load_catalogue().journey()
    states: dict[str, InvoiceState] = defaultdict(InvoiceState)
    for simulated, event in parsed():
        fold(states[event.invoice_id], event, simulated.at_us, journey)
    return states


def test_the_same_scenario_gives_the_same_bytes() -> None:
    """A run can be repeated exactly."""
    assert tuple(simulate(SCENARIO)) == sent()


def test_another_seed_or_start_gives_other_invoices() -> None:
    """A new run is never taken for copies of an old one."""
    ids = {
        frozenset(json.loads(event.raw)["invoice_id"] for event in simulate(scenario))
        for scenario in (
            replace(SCENARIO, invoices=20, invalid=0),
            replace(SCENARIO, invoices=20, invalid=0, seed=8),
            replace(SCENARIO, invoices=20, invalid=0, start_us=MARCH + 1),
        )
    }
    assert len(frozenset[str]().union(*ids)) == 60


def test_there_are_about_fourteen_events_an_invoice_over_four_about_equal_stages() -> None:
    """The volume that real purchase-to-pay logs show."""
    events = [event for simulated, event in parsed() if simulated.kind in VALID]
    assert 13.5 < len(events) / SCENARIO.invoices < 14.5
    shares = {stage: count / len(events) for stage, count in Counter(event.stage for event in events).items()}
    assert set(shares) == set(STAGES)
    assert all(0.22 < share < 0.28 for share in shares.values())


def test_the_simulator_knows_every_stage_of_the_catalogue() -> None:
    """A stage that is added to the catalogue needs activities here."""
    assert load_catalogue().journey().names == STAGES


def test_every_valid_event_parses_and_every_mistake_is_refused() -> None:
    """What is meant to be good is good by the domain's own rules, and nothing meant to be bad slips through."""
    invalid = [simulated for simulated in sent() if simulated.kind is Kind.INVALID]
    assert len(parsed()) == len(sent()) - len(invalid)
    assert all(event.stage == simulated.stage for simulated, event in parsed())
    assert all(isinstance(parse_event(simulated.raw), Poison) for simulated in invalid)


@pytest.mark.parametrize("mistake", range(len(MISTAKES)))
def test_each_kind_of_mistake_is_refused_for_another_reason(mistake: int) -> None:
    """Mistakes differ, so that the gateway shows more than one message."""
    document = json.loads(sent()[0].raw)
    outcome = parse_event(MISTAKES[mistake](document))
    assert isinstance(outcome, Poison)
    others = [parse_event(MISTAKES[other](document)) for other in range(len(MISTAKES)) if other != mistake]
    assert outcome not in others


def test_shares_are_those_asked_for() -> None:
    """Late, reordered, copied and wrong events, within what chance allows."""
    counts = Counter(simulated.kind for simulated in sent())
    valid = sum(counts[kind] for kind in VALID)
    shares = {kind: count / valid for kind, count in counts.items()}
    assert shares[Kind.LATE] == pytest.approx(SCENARIO.late, rel=0.2)
    assert shares[Kind.REORDERED] == pytest.approx(SCENARIO.reordered, rel=0.2)
    assert shares[Kind.DUPLICATE] == pytest.approx(SCENARIO.duplicate, rel=0.25)
    assert shares[Kind.INVALID] == pytest.approx(SCENARIO.invalid, rel=0.35)
    assert len(ground_truth(SCENARIO).stuck) / SCENARIO.invoices == pytest.approx(SCENARIO.stuck, rel=0.4)


def test_shares_of_zero_leave_nothing_but_good_journeys() -> None:
    """Every share can be switched off."""
    clean = replace(SCENARIO, invoices=200, late=0, duplicate=0, reordered=0, invalid=0, skipped=0, stuck=0)
    events = [parse_event(simulated.raw) for simulated in simulate(clean)]
    stages: dict[str, set[str]] = defaultdict(set)
    for event in events:
        assert isinstance(event, Event)
        stages[event.invoice_id].add(event.stage)
    assert {kind for _, _, _, kind in simulate(clean)} == {Kind.ON_TIME}
    assert all(seen == set(STAGES) for seen in stages.values())
    assert ground_truth(clean).stuck == {}


def test_the_ground_truth_is_what_is_sent() -> None:
    """A test can rely on the counts without sending anything."""
    truth = ground_truth(SCENARIO)
    counts = Counter(simulated.kind for simulated in sent())
    assert truth.events == len(sent())
    assert (truth.duplicates, truth.invalid) == (counts[Kind.DUPLICATE], counts[Kind.INVALID])
    assert truth.valid == len({(event.invoice_id, event.event_id) for _, event in parsed()})
    assert truth.invoices == len({event.invoice_id for _, event in parsed()})


def test_stuck_invoices_stay_where_the_scenario_says_and_all_others_are_closed() -> None:
    """Folded as the tracker folds them, late and reordered as they come."""
    journey = load_catalogue().journey()
    last = {invoice_id: journey.by_code[state.stage].name for invoice_id, state in folded().items()}
    open_still = {invoice_id: stage for invoice_id, stage in last.items() if stage != STAGES[-1]}
    assert open_still == ground_truth(SCENARIO).stuck
    assert set(open_still.values()) == set(STAGES[:-1])


def test_some_invoices_leave_out_a_stage_and_some_return_to_one() -> None:
    """Skipped stages, rework and reopening occur."""
    journey = load_catalogue().journey()
    skipped = sum(bool(state.skipped(journey)) for state in folded().values())
    assert skipped / SCENARIO.invoices == pytest.approx(SCENARIO.skipped, rel=0.4)
    activities = Counter(event.activity for _, event in parsed())
    assert 0.03 < activities["returned for rework"] / SCENARIO.invoices < 0.1
    assert 0 < activities["correction received"] / SCENARIO.invoices < 0.02


def test_events_come_in_sending_order_within_the_time_asked_for() -> None:
    """Sending times never go back; business time stays inside the scenario, also for what is hurried at its end."""
    assert all(earlier.at_us <= later.at_us for earlier, later in pairwise(sent()))
    occurred = [event.occurred_us for _, event in parsed()]
    assert min(occurred) >= SCENARIO.start_us
    assert max(occurred) <= SCENARIO.end_us + 1_000_000
    assert all(event.occurred_us <= simulated.at_us for simulated, event in parsed())


@pytest.mark.parametrize("days", [31.0, 0.0001])
def test_steps_of_an_invoice_happen_one_after_the_other(days: float) -> None:
    """No two events of an invoice share a moment, so business order is certain, however hurried it all is."""
    moments: dict[str, dict[str, int]] = defaultdict(dict)
    for simulated in simulate(replace(SCENARIO, invoices=100, days=days, invalid=0)):
        event = parse_event(simulated.raw)
        assert isinstance(event, Event)
        moments[event.invoice_id][event.event_id] = event.occurred_us
    for steps in moments.values():
        in_order = [steps[event_id] for event_id in sorted(steps)]
        assert all(earlier < later for earlier, later in pairwise(in_order))


def test_a_copy_is_the_same_bytes_again() -> None:
    """Duplicates differ from their original in nothing."""
    seen: set[bytes] = set()
    for simulated in sent():
        assert (simulated.raw in seen) == (simulated.kind is Kind.DUPLICATE)
        if simulated.kind is not Kind.INVALID:
            seen.add(simulated.raw)


def test_what_was_sent_with_a_mistake_is_sent_again_corrected() -> None:
    """A refused payload costs no event: the good one follows."""
    good: dict[str, list[int]] = defaultdict(list)
    for simulated, event in parsed():
        good[event.event_id].append(simulated.at_us)
    for simulated in sent():
        if simulated.kind is Kind.INVALID and b'"event_id":"' in simulated.raw:
            event_id = simulated.raw.split(b'"')[3].decode()
            assert good[event_id][0] >= simulated.at_us


def test_a_reordered_event_is_overtaken_and_a_late_one_waits() -> None:
    """Reordered: a later step was sent before it. Late: sent long after it happened."""
    newest: dict[str, int] = defaultdict(int)
    delays: dict[Kind, list[int]] = defaultdict(list)
    for simulated, event in parsed():
        if simulated.kind is Kind.REORDERED:
            assert newest[event.invoice_id] > event.occurred_us
        newest[event.invoice_id] = max(newest[event.invoice_id], event.occurred_us)
        delays[simulated.kind].append(simulated.at_us - event.occurred_us)
    assert median(delays[Kind.LATE]) > 3_600_000_000
    assert max(delays[Kind.LATE]) > 86_400_000_000
    assert median(delays[Kind.ON_TIME]) < 10_000_000


def _arrivals_by_day() -> Counter[date]:
    first: dict[str, int] = {}
    for _, event in parsed():
        first[event.invoice_id] = min(event.occurred_us, first.get(event.invoice_id, event.occurred_us))
    return Counter(datetime.fromtimestamp(us / 1e6, tz=UTC).date() for us in first.values())


def test_the_last_working_days_of_the_month_are_a_rush_and_weekends_are_quiet() -> None:
    """27, 30 and 31 March 2026 are a Friday, a Monday and a Tuesday; the 28th is a Saturday."""
    days = _arrivals_by_day()
    ordinary = median(days[date(2026, 3, day)] for day in range(2, 26) if date(2026, 3, day).weekday() < 5)
    rush = [days[date(2026, 3, day)] for day in (27, 30)]
    weekends = [days[date(2026, 3, day)] for day in (7, 8, 14, 15, 21, 22, 28, 29)]
    assert min(rush) > 2 * ordinary
    assert max(weekends) < 0.5 * ordinary


def test_the_month_may_close_on_another_day() -> None:
    """Closing day 31 is the last day of every month, also of February; any other is that day of this or next month."""
    assert closing_date(date(2026, 2, 3), 31) == date(2026, 2, 28)
    assert closing_date(date(2028, 2, 3), 31) == date(2028, 2, 29)
    assert closing_date(date(2026, 12, 20), 15) == date(2027, 1, 15)
    assert closing_date(date(2026, 5, 15), 15) == date(2026, 5, 15)
    weights = [day_weight(date(2026, 5, day), 4.0, 15) for day in range(11, 20)]
    assert weights == [1, 1, 4, 4, 4, 0.22, 0.22, 1, 1]


def test_amounts_are_exact_in_the_digits_of_their_currency() -> None:
    """Yen have no decimals, dinars three; what was matched is what was ordered and received."""
    digits = {country.currency: country.digits for country in COUNTRIES}
    currencies = set()
    for _, event in parsed():
        given = (event.invoice_amount, event.matched_amount, event.authorized_amount, event.ppv)
        invoiced, matched, authorized, ppv = (None if text is None else Decimal(text) for text in given)
        for amount in (invoiced, matched, authorized, ppv):
            if amount is not None:
                assert amount.as_tuple().exponent == -digits[event.currency or ""]
        currencies.add(event.currency)
        if matched is not None and ppv is not None and invoiced is not None:
            assert matched >= 0
            if not event.pqv:
                assert matched == invoiced - ppv
    assert currencies == set(digits)


@pytest.mark.parametrize(
    ("units", "digits", "text"),
    [(123456, 2, "1234.56"), (-5, 2, "-0.05"), (7, 0, "7"), (-7, 0, "-7"), (1, 3, "0.001"), (0, 2, "0.00")],
)
def test_smallest_units_become_decimal_text(units: int, digits: int, text: str) -> None:
    """No float in between."""
    assert decimal_text(units, digits) == text


def test_facts_come_with_the_stage_they_belong_to() -> None:
    """Nothing is matched before reconciliation, nothing authorized before authorization."""
    for _, event in parsed():
        if event.stage == "ingestion":
            assert event.matched_amount is event.ppv is event.pqv is event.authorized_amount is None
        if event.stage == "reconciliation":
            assert event.authorized_amount is None
        if event.activity == "three-way match completed":
            assert None not in (event.matched_amount, event.ppv, event.pqv)
        if event.activity in ("approved by owner", "posted to ledger"):
            assert event.authorized_amount is not None
        if event.activity == "price variance flagged":
            assert event.ppv


def test_due_dates_follow_payment_terms() -> None:
    """30 to 365 days after the invoice date, the same for all events of an invoice, short terms most often."""
    terms: dict[str, set[int]] = defaultdict(set)
    for _, event in parsed():
        assert event.invoice_date is not None
        assert event.invoice_due_date is not None
        assert event.invoice_date <= event.occurred_at.astimezone(UTC).date()
        terms[event.invoice_id].add((event.invoice_due_date - event.invoice_date).days)
    assert all(len(days) == 1 for days in terms.values())
    days = Counter(day for (day,) in terms.values())
    assert set(days) == set(PAYMENT_TERMS_DAYS)
    assert days.most_common(1)[0][0] == 30


@pytest.mark.parametrize("events", [1, 100, 5_000])
def test_events_bound_the_invoices(events: int) -> None:
    """As many whole invoices as fit, and one more would not."""
    fitted = fit_to_events(SCENARIO, events)
    more = replace(fitted, invoices=fitted.invoices + 1)
    assert ground_truth(fitted).events <= events or fitted.invoices == 1
    assert ground_truth(more).events > events


def test_only_the_chosen_currencies_occur() -> None:
    """A scenario of one currency stays in it."""
    scenario = replace(SCENARIO, invoices=50, currencies=("JPY",), invalid=0)
    assert {json.loads(event.raw)["currency"] for event in simulate(scenario)} == {"JPY"}


@pytest.mark.parametrize(
    "wrong", [{"currencies": ("XXX",)}, {"currencies": ()}, {"invoices": 0}, {"days": 0}, {"payees": 0}, {"seed": -1}]
)
def test_a_senseless_scenario_is_refused(wrong: dict[str, object]) -> None:
    """With what to choose instead."""
    with pytest.raises(ValueError, match=r"choose from|must be above"):
        replace(SCENARIO, **wrong)  # type: ignore[arg-type]


def test_memory_does_not_grow_with_the_number_of_events() -> None:
    """Events are made one by one: what is held is a small part of what is sent, only the open invoices."""
    sent_bytes = 0
    tracemalloc.start()
    for simulated in simulate(replace(SCENARIO, invoices=1_000, days=90)):
        sent_bytes += len(simulated.raw)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 0.2 * sent_bytes
