"""The filler of the benchmarks: seeded, exact in number, with the copies and the journeys that it promises."""

import json
from collections import Counter, defaultdict
from itertools import islice

from bems_streams.domain.event import Event, parse_event
from benchmarks.feed import VISITS, Feed, Shape

EVENTS = 20_000
SMALL = Shape(live_invoices=100, copies=0.05, recent=500)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    """Whoever is measured reads the same, today and on another machine."""
    first, again, other = (list(Feed(2000, seed, SMALL)) for seed in (7, 7, 8))

    assert first == again
    assert {record.value for record in first}.isdisjoint(record.value for record in other)


def test_a_longer_feed_begins_like_a_shorter_one() -> None:
    """A subject that is too slow for the whole feed reads its beginning."""
    assert list(islice(Feed(EVENTS, 7, SMALL), 500)) == list(Feed(500, 7, SMALL))


def test_copies_and_invoices_are_counted_as_they_are() -> None:
    """What the results of all subjects are compared with."""
    feed = Feed(EVENTS, 7, SMALL)

    found = list(feed)

    times = Counter(record.value for record in found)
    assert len(found) == EVENTS
    assert feed.copies == EVENTS - len(times)
    assert 0.04 < feed.copies / EVENTS < 0.06
    assert feed.invoices == len({record.key for record in found})


def test_every_record_is_a_valid_event_with_its_invoice_as_key() -> None:
    """Nothing in the feed goes to a dead-letter topic."""
    for record in Feed(EVENTS, 7, SMALL):
        event = parse_event(record.value)
        assert isinstance(event, Event), event
        assert (event.stage, event.invoice_id.encode()) == (record.stage, record.key)


def test_an_invoice_passes_the_four_stages_in_order_in_fourteen_events() -> None:
    """As real purchase-to-pay logs do; those under way at the end have fewer."""
    visits: dict[bytes, list[str]] = defaultdict(list)
    moments: dict[bytes, list[str]] = defaultdict(list)
    for record in dict.fromkeys(Feed(EVENTS, 7, SMALL)):
        visits[record.key].append(record.stage)
        moments[record.key].append(json.loads(record.value)["occurred_at"])

    assert all(tuple(stages) == VISITS[: len(stages)] for stages in visits.values())
    assert all(times == sorted(times) for times in moments.values())
    under_way = [stages for stages in visits.values() if len(stages) < len(VISITS)]
    assert 0 < len(under_way) <= SMALL.live_invoices


def test_an_event_has_about_450_bytes() -> None:
    """The size that all figures of peers refer to."""
    sizes = [len(record.value) for record in Feed(1000, 7, SMALL)]

    assert 430 < sum(sizes) / len(sizes) < 470
