"""Whether the gateway takes events: first contact, lost contact, regained contact."""

import asyncio

import pytest

from bems_streams.gateway.availability import COMPARE_EVERY_SECONDS, Availability, ClusterCheck, watch
from bems_streams.topics_plan import TopicAdminError, UnsafeClusterError
from tests.unit.gateway_kit import until


class Cluster:
    """What a check finds."""

    def __init__(self) -> None:
        self.away: str | None = None
        self.unsafe: Exception | None = None
        self.compared = 0
        self.now_seconds = 100.0

    def check(self) -> ClusterCheck:
        return ClusterCheck(lambda: self.away, self._refuse_unsafe, lambda: self.now_seconds)

    def _refuse_unsafe(self) -> None:
        self.compared += 1
        if self.unsafe is not None:
            raise self.unsafe


def test_a_cluster_in_order_is_compared_once() -> None:
    """Not at every check, which comes every second."""
    cluster = Cluster()
    check = cluster.check()

    assert [check(), check(), check()] == [None, None, None]
    assert cluster.compared == 1


def test_topics_that_somebody_makes_unsafe_are_noticed_within_a_minute() -> None:
    """Also while events flow."""
    cluster = Cluster()
    check = cluster.check()
    check()
    cluster.unsafe = UnsafeClusterError([])

    cluster.now_seconds += COMPARE_EVERY_SECONDS - 1
    before = check()
    cluster.now_seconds += 1
    after = check()

    assert before is None
    assert after == str(cluster.unsafe)


def test_a_later_comparison_that_gets_no_answer_stops_nothing() -> None:
    """The cluster takes records and was safe a minute ago; the comparison is tried again at the next check."""
    cluster = Cluster()
    check = cluster.check()
    check()
    cluster.unsafe = TopicAdminError("too busy to tell")
    cluster.now_seconds += COMPARE_EVERY_SECONDS

    assert [check(), check()] == [None, None]
    assert cluster.compared == 3


def test_an_absent_cluster_is_not_compared() -> None:
    """It has nothing to compare, and would only cost time."""
    cluster = Cluster()
    cluster.away = "no broker answers"

    assert cluster.check()() == "no broker answers"
    assert cluster.compared == 0


@pytest.mark.parametrize("reason", [UnsafeClusterError([]), TopicAdminError("it refuses to tell")])
def test_an_unsafe_cluster_gets_no_events_until_it_is_repaired(reason: Exception) -> None:
    """The reason is the error's own, and it is compared anew each time."""
    cluster = Cluster()
    check = cluster.check()
    cluster.unsafe = reason

    assert check() == str(reason)
    cluster.unsafe = None
    assert check() is None


def test_a_cluster_that_comes_back_is_compared_again() -> None:
    """It may not be the one that went."""
    cluster = Cluster()
    check = cluster.check()
    check()
    cluster.away = "no broker answers"
    check()
    cluster.away = None
    cluster.unsafe = TopicAdminError("topics are gone")

    assert check() == "topics are gone"


async def test_the_watch_follows_the_cluster() -> None:
    """Not ready before the first contact, then ready, not ready, and not even a check that breaks down ends it."""
    availability = Availability()
    cluster = Cluster()
    assert availability.readiness() == "no contact with the broker yet"
    watcher = asyncio.create_task(watch(availability, cluster.check(), 0.0))

    await until(lambda: availability.readiness() is None)
    cluster.away = "no broker answers"
    await until(lambda: availability.readiness() == "no broker answers")
    cluster.away, cluster.unsafe = None, ZeroDivisionError("defect")
    await until(lambda: "ZeroDivisionError" in (availability.readiness() or ""))
    cluster.unsafe = None
    await until(lambda: availability.readiness() is None)

    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
