"""The delivery order of every agent, written once: nothing is acknowledged before it is durable.

    1 decode, 2 decide   pure, an outcome for every record
    3 publish            everything for others, awaited
    4 write              one atomic write of what this agent keeps
    5 count              only what has happened
    6 ack                by the caller, when `deliver` has returned

A crash between any two of them replays; every step is idempotent or transactional, so a replay changes nothing.
Not here: what the steps do (track.py, watch.py, store.py).
"""

from typing import Protocol, TypeVar

Given_contra = TypeVar("Given_contra", contravariant=True)
Decision = TypeVar("Decision")
Proof = TypeVar("Proof")
Result = TypeVar("Result")


class Steps(Protocol[Given_contra, Decision, Proof, Result]):
    """One agent's work on one batch. Any exception means: stop without acking."""

    def decide(self, given: Given_contra) -> Decision:
        """Steps 1 and 2."""

    async def publish(self, decision: Decision) -> Proof:
        """Step 3. Returns when all of it is durable."""

    async def write(self, decision: Decision, proof: Proof) -> Result:
        """Step 4. Returns when all of it is durable."""

    def count(self, decision: Decision, result: Result) -> None:
        """Step 5."""


async def deliver(steps: Steps[Given_contra, Decision, Proof, Result], given: Given_contra) -> Decision:
    """Run the steps in order; return the decision once everything in it has happened."""
    decision = steps.decide(given)
    proof = await steps.publish(decision)
    result = await steps.write(decision, proof)
    steps.count(decision, result)
    return decision
