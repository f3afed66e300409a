"""The gateway's process looks for garbage less often, and still finds it."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from bems_streams.gateway.server import COLLECT_AFTER_OBJECTS, collect_less_garbage


class Node:
    """One that refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def collector() -> Iterator[None]:
    """As it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_cycles_are_freed_before_they_are_many() -> None:
    """Memory stays bounded whatever a library leaves behind."""
    collect_less_garbage()

    first = weakref.ref(Node())
    for _ in range(2 * COLLECT_AFTER_OBJECTS):
        Node()

    assert first() is None


@pytest.mark.usefixtures("collector")
def test_objects_that_wait_for_the_broker_are_not_looked_at_again_and_again() -> None:
    """A few hundred requests under way are no garbage."""
    collect_less_garbage()
    looked = gc.get_stats()[0]["collections"]

    waiting = [[place] for place in range(COLLECT_AFTER_OBJECTS // 2)]

    assert len(waiting) == COLLECT_AFTER_OBJECTS // 2
    assert gc.get_stats()[0]["collections"] == looked
