"""What the gateway has to reach beside the others, and what bounds it where it does not.

Not here: measuring (gateway.py).
"""

import os
from collections.abc import Sequence
from typing import Final

from benchmarks.figures import Case, Goal, Target
from benchmarks.gateway_peers.line_up import FASTAPI, GATEWAY, PARSE_ONLY

SINGLE: Final = "single"
BATCH: Final = "batch of 100"
HALF_LOAD: Final = "half load"
OF_PARSE_ONLY: Final = 0.3
TIMES_FASTAPI: Final = 5.0
BATCHED_PER_SECOND: Final = 100_000.0
P99_MS: Final = 100.0


def case_name(subject: str, load: str) -> str:
    """`gateway, single`."""
    return f"{subject}, {load}"


def targets(cases: Sequence[Case]) -> list[Target]:
    """Ratios of medians within this run; by CPU too, which says more on a machine that others use."""
    by_name = {case.name: case for case in cases}

    def median(subject: str, load: str, figure: str) -> float:
        return by_name[case_name(subject, load)].spread(figure).median

    rate, cpu = "events_per_second", "cpu_us_per_event"
    single, batch = by_name[case_name(GATEWAY, SINGLE)], by_name[case_name(GATEWAY, BATCH)]
    return [
        Target(
            "gateway, one event per request: events/s as a part of parsing only",
            median(GATEWAY, SINGLE, rate) / median(PARSE_ONLY, SINGLE, rate),
            OF_PARSE_ONLY,
            Goal.AT_LEAST,
            bound(single),
        ),
        Target(
            "gateway, one event per request: CPU of parsing only as a part of ours",
            median(PARSE_ONLY, SINGLE, cpu) / median(GATEWAY, SINGLE, cpu),
            OF_PARSE_ONLY,
            Goal.AT_LEAST,
            "uvicorn and Python: see docs/performance/gateway.md",
        ),
        *(
            Target(
                "gateway, one event per request: events/s as a multiple of FastAPI + aiokafka",
                median(GATEWAY, SINGLE, rate) / by_name[name].spread(rate).median,
                TIMES_FASTAPI,
                Goal.AT_LEAST,
                bound(single),
            )
            for name in [case_name(FASTAPI, SINGLE)]
            if name in by_name  # not with --only
        ),
        Target(
            "gateway, 100 events per request: events/s of one process",
            median(GATEWAY, BATCH, rate),
            BATCHED_PER_SECOND,
            Goal.AT_LEAST,
            bound(batch),
        ),
        Target(
            "gateway, 100 events per request at half of that: p99 in ms, from when each request was due",
            median(GATEWAY, HALF_LOAD, "p99_ms"),
            P99_MS,
            Goal.AT_MOST,
            "how long other processes keep a ready one waiting: the load comes at fixed times",
        ),
    ]


def bound(case: Case) -> str:
    """Where the processors' time goes; the event loop is one thread, so its own ceiling is told beside it."""
    loop, broker, sender = (
        case.spread(figure).median
        for figure in ("loop_cpu_us_per_event", "broker_cpu_us_per_event", "sender_cpu_us_per_event")
    )
    server = case.spread("cpu_us_per_event").median
    return (
        f"of {os.cpu_count()} processors each event takes {server:.1f} µs in the gateway, {broker:.1f} in the broker, "
        f"{sender:.1f} in the load generator; the event loop alone, {loop:.1f}, would reach {1e6 / loop:,.0f} events/s"
    )
