"""Up to which moment events are known: what keeps the watch from false alarms, and lets it go on in silence."""

import pytest
from faust.types import TP

from bems_streams.runtime.membership import Membership
from bems_streams.runtime.ownership import Owned, Ownership
from bems_streams.runtime.session import UNSEEN_US, Settled
from tests.unit.flow_kit import SECOND_US, START_US
from tests.unit.work_kit import App, Consumer

TOPICS = ("in.a", "in.b")


class Broker(Consumer):
    """What the consumer knows of the ends of topics, and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[TP, int] = {}
        self.answered_us: dict[TP, int] = {}
        self.markers_passed: dict[TP, int] = {}

    def answers(self, topic: str, end: int, at_us: int, number: int = 0) -> None:
        """A fetch is answered."""
        self.ends[TP(topic, number)], self.answered_us[TP(topic, number)] = end, at_us

    def highwater(self, tp: TP) -> int | None:
        """As Faust's consumer."""
        return self.ends.get(tp)

    def polled_us(self, tp: TP) -> int | None:
        """As BatchConsumer."""
        return self.answered_us.get(tp)

    def passed(self, tp: TP) -> int:
        """As BatchConsumer."""
        return self.markers_passed.get(tp, 0)


class Tracking:
    """A tracker that owns partition numbers 0 and 1 and stands at offset 5 everywhere."""

    def __init__(self) -> None:
        self.broker = Broker()
        app = App()
        app.consumer = self.broker
        self.ownership = Ownership(app, TOPICS, {}, None)
        positions = {(topic, number): 5 for topic in TOPICS for number in (0, 1)}
        self.owned = Owned(1, Membership("g", 1, "m", None), [0, 1], positions, {})
        self.ownership.owned = self.owned
        self.settled = Settled(app, self.ownership, TOPICS)


def test_caught_up_everywhere_it_is_now_save_what_may_be_on_its_way() -> None:
    """Silence does not hold the clock: the watch goes on without any event."""
    tracking = Tracking()
    for topic in TOPICS:
        tracking.broker.answers(topic, 5, START_US)

    assert tracking.settled(0, START_US) == START_US - UNSEEN_US


def test_behind_on_one_topic_it_is_where_that_topic_stands() -> None:
    """The event that moved an invoice on may be in the backlog of any stage."""
    tracking = Tracking()
    tracking.broker.answers("in.a", 5, START_US)
    tracking.broker.answers("in.b", 6, START_US)
    assert tracking.settled(0, START_US) <= 0

    tracking.owned.accepted["in.b", 0] = START_US - 60 * SECOND_US
    # others of the same millisecond may follow
    assert tracking.settled(0, START_US) == START_US - 60 * SECOND_US - 1000


def test_other_partition_numbers_do_not_hold_it_back() -> None:
    """One hot partition must not silence the alerts of all."""
    tracking = Tracking()
    for topic in TOPICS:
        tracking.broker.answers(topic, 5, START_US, 0)
        tracking.broker.answers(topic, 900, START_US, 1)

    assert tracking.settled(0, START_US) == START_US - UNSEEN_US
    assert tracking.settled(1, START_US) <= 0


def test_a_leader_that_does_not_answer_stops_the_clock_of_its_partition() -> None:
    """Its topic may have grown meanwhile: what was its end half a minute ago says nothing of the last half minute."""
    tracking = Tracking()
    tracking.broker.answers("in.a", 5, START_US)
    tracking.broker.answers("in.b", 5, START_US - 30 * SECOND_US)

    assert tracking.settled(0, START_US) == START_US - 30 * SECOND_US - UNSEEN_US


def test_an_answer_from_the_future_is_worth_no_more_than_now() -> None:
    """Two clocks of one machine may differ by an instant."""
    tracking = Tracking()
    for topic in TOPICS:
        tracking.broker.answers(topic, 5, START_US + SECOND_US)

    assert tracking.settled(0, START_US) == START_US - UNSEEN_US


@pytest.mark.parametrize("unknown", ["first fetch", "ownership"])
def test_nothing_is_settled_while_nothing_is_known(unknown: str) -> None:
    """Before the first answer, and while partitions move."""
    tracking = Tracking()
    tracking.broker.answers("in.a", 5, START_US)
    if unknown == "ownership":
        tracking.broker.answers("in.b", 5, START_US)
        tracking.ownership.owned = None

    assert tracking.settled(0, START_US) == 0


def test_the_marker_of_a_transaction_at_the_end_of_a_topic_is_no_backlog() -> None:
    """An upstream that writes in transactions leaves a marker behind the last event: silence must still be watched."""
    tracking = Tracking()
    for topic in TOPICS:
        tracking.broker.answers(topic, 6, START_US)
    assert tracking.settled(0, START_US) <= 0

    tracking.broker.markers_passed = {TP(topic, 0): 6 for topic in TOPICS}

    assert tracking.settled(0, START_US) == START_US - UNSEEN_US
