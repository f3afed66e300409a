"""The order of steps, which every agent shares: what has not happened is neither counted nor returned from."""

import pytest

from bems_streams.flows.deliver import deliver

ORDER = ["decide", "publish", "write", "count"]


class Recording:
    """Steps that note what happened, each result naming the one before; the step in `fails` does not get done."""

    def __init__(self, fails: str | None = None) -> None:
        self.done: list[str] = []
        self._fails = fails

    def _do(self, step: str, *given: str) -> str:
        if step == self._fails:
            raise ConnectionError(step)
        self.done.append(step)
        return f"{step}({', '.join(given)})"

    def decide(self, given: str) -> str:
        """Steps 1 and 2."""
        return self._do("decide", given)

    async def publish(self, decision: str) -> str:
        """Step 3."""
        return self._do("publish", decision)

    async def write(self, decision: str, proof: str) -> str:
        """Step 4."""
        return self._do("write", decision, proof)

    def count(self, decision: str, result: str) -> None:
        """Step 5."""
        assert result == f"write({decision}, publish({decision}))"
        self._do("count")


async def test_steps_run_in_order_and_each_gets_what_the_ones_before_gave() -> None:
    """Publish, then write with the proof of it, then count the result; then the caller may ack."""
    steps = Recording()

    decision = await deliver(steps, "batch")

    assert steps.done == ORDER
    assert decision == "decide(batch)"


@pytest.mark.parametrize("fails", ORDER)
async def test_a_step_that_fails_is_the_last(fails: str) -> None:
    """The error reaches the caller, so that it does not ack."""
    steps = Recording(fails)

    with pytest.raises(ConnectionError, match=fails):
        await deliver(steps, "batch")

    assert steps.done == ORDER[: ORDER.index(fails)]
