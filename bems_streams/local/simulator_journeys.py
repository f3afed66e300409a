"""What happens to a made-up invoice, step by step: activities, variances, rework, reopening, getting stuck.

A journey depends on the random source alone, never on the calendar, so that events can be counted without timing them.
Not here: when the steps happen (simulator.py) and how they look as JSON (simulator_payloads.py).
"""

from collections.abc import Sequence
from enum import Enum, auto
from random import Random
from typing import Final, NamedTuple

INGESTION, RECONCILIATION, AUTHORIZATION, POSTING = "ingestion", "reconciliation", "authorization", "posting"
STAGES: Final = (INGESTION, RECONCILIATION, AUTHORIZATION, POSTING)
REWORK_SHARE: Final = 0.06
REOPENED_SHARE: Final = 0.005


class Trait(Enum):
    """What an invoice must be for some activities to happen."""

    ANY = auto()
    PRICE_VARIANCE = auto()
    QUANTITY_VARIANCE = auto()
    VARIANCE = auto()
    LARGE = auto()


class Activity(NamedTuple):
    """One thing that systems or people do in a stage."""

    stage: str
    name: str
    share: float  # how often it happens, among invoices with `trait`
    wait_seconds: float  # median time since the step before
    trait: Trait = Trait.ANY
    again: float = 0.0  # chance that it happens once more, each time
    by_people: bool = False  # people rest on weekends
    facts: tuple[str, ...] = ()  # fields that this step adds to those of the invoice


MATCH_FACTS: Final = ("matched_amount", "ppv", "pqv")
AUTHORIZED: Final = (*MATCH_FACTS, "authorized_amount")
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

_INGESTION: Final = (
    Activity(INGESTION, "invoice received", 1, 0),
    Activity(INGESTION, "document scanned", 0.55, 10 * _MINUTE),
    Activity(INGESTION, "header data extracted", 0.85, 2 * _MINUTE),
    Activity(INGESTION, "line items extracted", 0.7, 1 * _MINUTE, again=0.1),
    Activity(INGESTION, "supplier identified", 0.5, 5 * _MINUTE),
)
_RECONCILIATION: Final = (
    Activity(RECONCILIATION, "purchase order linked", 0.92, 1 * _HOUR),
    Activity(RECONCILIATION, "goods receipt matched", 0.9, 5 * _HOUR, again=0.2, by_people=True),
    Activity(RECONCILIATION, "price variance flagged", 1, 10 * _MINUTE, Trait.PRICE_VARIANCE, facts=("ppv",)),
    Activity(RECONCILIATION, "quantity variance flagged", 1, 10 * _MINUTE, Trait.QUANTITY_VARIANCE, facts=("pqv",)),
    Activity(RECONCILIATION, "variance clarified with supplier", 0.7, 14 * _HOUR, Trait.VARIANCE, 0.2, by_people=True),
    Activity(RECONCILIATION, "three-way match completed", 1, 1 * _HOUR, facts=MATCH_FACTS),
)
_AUTHORIZATION: Final = (
    Activity(AUTHORIZATION, "approval requested", 1, 30 * _MINUTE, facts=MATCH_FACTS),
    Activity(AUTHORIZATION, "payment block set", 0.15, 20 * _MINUTE),
    Activity(AUTHORIZATION, "cost centre confirmed", 0.55, 3 * _HOUR, by_people=True),
    Activity(AUTHORIZATION, "approver reminded", 0.2, 14 * _HOUR, again=0.3),
    Activity(AUTHORIZATION, "approved by owner", 1, 5 * _HOUR, by_people=True, facts=AUTHORIZED),
    Activity(
        AUTHORIZATION, "approved by second signatory", 1, 6 * _HOUR, Trait.LARGE, by_people=True, facts=AUTHORIZED
    ),
    Activity(AUTHORIZATION, "payment block removed", 0.3, 2 * _HOUR, by_people=True, facts=AUTHORIZED),
)
_POSTING: Final = (
    Activity(POSTING, "posted to ledger", 1, 2 * _HOUR, facts=AUTHORIZED),
    Activity(POSTING, "tax lines posted", 0.8, 2 * _MINUTE),
    Activity(POSTING, "intercompany share posted", 0.2, 10 * _MINUTE, again=0.3),
    Activity(POSTING, "payment scheduled", 0.9, 1 * _HOUR, facts=("authorized_amount",)),
    Activity(POSTING, "remittance advice prepared", 0.45, 20 * _MINUTE),
)
ACTIVITIES: Final = {
    INGESTION: _INGESTION,
    RECONCILIATION: _RECONCILIATION,
    AUTHORIZATION: _AUTHORIZATION,
    POSTING: _POSTING,
}
_RETURNED: Final = Activity(RECONCILIATION, "returned for rework", 1, 4 * _HOUR, by_people=True)
_CORRECTED: Final = Activity(INGESTION, "correction received", 1, 30 * _HOUR, by_people=True)


class Course(NamedTuple):
    """The steps of one invoice in business order; `stuck_in` names the stage it never leaves, None when it closes."""

    steps: tuple[Activity, ...]
    stuck_in: str | None


def draw_course(rng: Random, traits: frozenset[Trait], *, skipped: float, stuck: float) -> Course:
    """Decide what happens to one invoice. `skipped` and `stuck` are the shares of invoices that this befalls."""
    left_out = rng.choice(STAGES[:-1]) if rng.random() < skipped else None
    legs = [_leg(rng, traits, stage) for stage in STAGES if stage != left_out]
    if rng.random() < stuck:
        return _stop_short(rng, legs)
    if left_out is None and rng.random() < REWORK_SHARE:
        legs[2:3] = [
            legs[2][:2],
            [_RETURNED, *_leg(rng, traits, RECONCILIATION)[-2:]],
            _leg(rng, traits, AUTHORIZATION),
        ]
    if rng.random() < REOPENED_SHARE:
        legs += [[_CORRECTED], _leg(rng, traits, AUTHORIZATION), _leg(rng, traits, POSTING)[:2]]
    return Course(tuple(step for leg in legs for step in leg), None)


def _leg(rng: Random, traits: frozenset[Trait], stage: str) -> list[Activity]:
    """What happens in one stay in a stage; never empty, as each stage has an activity that always happens."""
    steps = []
    for activity in ACTIVITIES[stage]:
        if activity.trait not in traits or rng.random() >= activity.share:
            continue
        steps.append(activity)
        while activity.again and rng.random() < activity.again:
            steps.append(activity)
    return steps


def _stop_short(rng: Random, legs: Sequence[list[Activity]]) -> Course:
    """Everything up to some step before the last stage, then silence."""
    last = rng.randrange(len(legs) - 1)
    kept = legs[last][: rng.randint(1, len(legs[last]))]
    steps = [step for leg in legs[:last] for step in leg] + kept
    return Course(tuple(steps), kept[-1].stage)
