"""The circuit breaker: waits ever longer while the destination is down, says so, and forgets it when it is back."""

from prometheus_client import CollectorRegistry

from bems_streams.domain.failures import StoreAway
from bems_streams.flows.breaker import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Breaker
from bems_streams.metrics import AgentMetrics
from tests.unit.flow_kit import SECOND_US, FrozenClock


async def test_pauses_grow_to_a_limit_and_start_over_after_a_success() -> None:
    """Soon back is soon noticed; ten minutes away costs no more than a try every few seconds."""
    clock, registry, pauses = FrozenClock(), CollectorRegistry(), []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock.us += round(seconds * SECOND_US)

    breaker = Breaker(clock, AgentMetrics(registry, "sink"), pause)
    for _ in range(9):
        await breaker.failed(StoreAway, "the disk is full")
    reason = breaker.reason_not_ready()
    breaker.succeeded()
    await breaker.failed(StoreAway, "again")

    assert pauses[0] == pauses[-1] == FIRST_PAUSE_SECONDS
    assert pauses[7:9] == [LONGEST_PAUSE_SECONDS] * 2
    assert reason == "paused since 2025-10-09T08:53:20+00:00: the disk is full"
    assert registry.get_sample_value("bems_agent_pauses_total", {"agent": "sink", "code": "store_away"}) == 2
