"""What must hold between the entries of topics.yaml: each rule yields every breach, none stops at the first.

Rules see what is well-formed, field by field, so a missing field is unknown here, not wrong.
Not here: the form of single entries (document.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from bems_streams.catalogue import names
from bems_streams.catalogue.payloads import PAYLOAD_TYPES, example_problems
from bems_streams.catalogue.source import Location, SourceProblem
from bems_streams.catalogue.wellformed import Parts, wellformed


def broken_rules(document: Mapping[str, Any]) -> list[SourceProblem]:
    """Every breach of every rule."""
    parts = wellformed(document)
    return [problem for rule in RULES for problem in rule(parts)]


def _durability(parts: Parts) -> Iterator[SourceProblem]:
    replication, least = parts.cell.get("replication"), parts.cell.get("min_insync_replicas")
    if replication is None or least is None:
        return
    if least > replication:
        yield SourceProblem(
            ("min_insync_replicas",),
            f"{least} is more than replication ({replication}), so that no write could ever succeed; lower it",
        )
    elif replication > 1 and least < 2:
        yield SourceProblem(
            ("min_insync_replicas",),
            f"1 with replication {replication} lets an accepted event live on one broker only; make it 2 "
            "(here, or BEMS_MIN_INSYNC_REPLICAS)",
        )


def _stages(parts: Parts) -> Iterator[SourceProblem]:
    for field in ("name", "code"):
        first: dict[object, int] = {}
        for at, stage in enumerate(parts.stages):
            value = stage.get(field)
            if value is not None and first.setdefault(value, at) != at:
                yield SourceProblem(("stages", at, field), f"{value!r} is taken by stages.{first[value]}; use another")
    if parts.stages and parts.stages[-1].get("stuck_after") is not None:
        yield SourceProblem(
            ("stages", len(parts.stages) - 1, "stuck_after"),
            "the last stage closes the invoice, so nothing can be stuck in it; remove this, or add the stage after it",
        )


def _roles(parts: Parts) -> Iterator[SourceProblem]:
    known = ", ".join(sorted(parts.roles))
    for name, topic in parts.topics.items():
        for side in ("producers", "consumers"):
            roles: Sequence[str] = topic.get(side, ())
            for at, role in enumerate(roles):
                if role not in parts.roles:
                    yield SourceProblem(
                        ("topics", name, side, at),
                        f"{role!r} is neither in `agents` nor in `others`; add it there or use one of {known}",
                    )
                elif role in roles[:at]:
                    yield SourceProblem(("topics", name, side, at), f"{role!r} is named twice; remove one")
    for role in parts.agents.keys() & parts.others:
        yield SourceProblem(("others", role), f"{role!r} is an agent already; remove it here")


def _payloads(parts: Parts) -> Iterator[SourceProblem]:
    described = ", ".join(sorted(parts.payloads))
    for name, topic in parts.topics.items():
        if topic.get("payload", described) not in {*parts.payloads, described}:
            yield SourceProblem(
                ("topics", name, "payload"),
                f"{topic['payload']!r} is not described in `payloads`; add it there or use one of {described}",
            )
    unknown = any("payload" not in topic for topic in parts.topics.values())
    for payload in PAYLOAD_TYPES:
        carriers = [name for name, topic in parts.topics.items() if topic.get("payload") == payload]
        for second in carriers[1:]:
            yield SourceProblem(
                ("topics", second, "payload"),
                f"{payload!r} has its place in {carriers[0]} already; use another payload",
            )
        if not carriers and not unknown:
            yield SourceProblem(("topics",), f"no topic carries payload {payload!r}; add one")


def _examples(parts: Parts) -> Iterator[SourceProblem]:
    for payload in PAYLOAD_TYPES:
        example = parts.payloads.get(payload, {}).get("example")
        if example is None:
            continue
        for problem in example_problems(payload, example):
            place = problem.path.split(".") if problem.path else ()
            yield SourceProblem(("payloads", payload, "example", *place), problem.message)
        stages = [stage.get("name") for stage in parts.stages]
        if isinstance(example.get("stage"), str) and example["stage"] not in stages and None not in stages:
            yield SourceProblem(
                ("payloads", payload, "example", "stage"),
                f"{example['stage']!r} is not one of `stages`; use one of them",
            )


def _raw_topics(parts: Parts) -> Iterator[SourceProblem]:
    for name, topic in parts.topics.items():
        raw = topic.get("payload") == "event"
        if "payload" in topic and raw != (name.count(names.STAGE_PLACE) == 1):
            yield SourceProblem(
                ("topics", name),
                f"a topic has {names.STAGE_PLACE} in its name if, and only if, its payload is event; rename it",
            )
        if raw and topic.get("cleanup") == "compact":
            yield SourceProblem(
                ("topics", name, "cleanup"), "compaction would drop all but the newest event of an invoice; use delete"
            )
        if raw and topic.get("timestamp") == "create":
            yield SourceProblem(
                ("topics", name, "timestamp"),
                "with the producer's time, retention would delete back-dated events early; use log-append",
            )


def _retention(parts: Parts) -> Iterator[SourceProblem]:
    for name, topic in parts.topics.items():
        at: Location = ("topics", name, "retention")
        cleanup = topic.get("cleanup")
        if cleanup == "delete" and topic.get("retention", ...) is None:
            yield SourceProblem(at, "missing; say how long records stay, such as 30d")
        if cleanup == "compact" and topic.get("retention") is not None and topic.get("payload") != "event":
            yield SourceProblem(at, "a compacted topic keeps the newest record of every key; remove this")
    events = [topic for topic in parts.topics.values() if topic.get("payload") == "event"]
    longest = max((topic.get("retention") or timedelta() for topic in events), default=timedelta())
    for field in ("retry_retention", "dead_letter_retention"):
        if parts.derived.get(field, longest) < longest:
            yield SourceProblem(
                ("derived", field),
                "shorter than the retention of the events it holds: an event in repair would go first; raise it",
            )


def _retries(parts: Parts) -> Iterator[SourceProblem]:
    for name, agent in parts.agents.items():
        retry: Sequence[timedelta] = agent.get("retry", ())
        if list(retry) != sorted(set(retry)):
            yield SourceProblem(("agents", name, "retry"), "each wait must be longer than the one before; reorder them")
        total = sum(retry, timedelta())
        if "retry_retention" in parts.derived and total >= parts.derived["retry_retention"]:
            yield SourceProblem(
                ("agents", name, "retry"), "waits longer than derived.retry_retention keeps records; raise that"
            )


def _concrete(parts: Parts) -> Iterator[tuple[str, Location]]:
    """Every topic name that the document leads to, with the place it comes from."""
    stages = dict.fromkeys(stage["name"] for stage in parts.stages if "name" in stage)
    for template, topic in parts.topics.items():
        for stage in stages if names.STAGE_PLACE in template else ("",):
            name = names.stage_topic(template, stage)
            yield name, ("topics", template)
            for agent in dict.fromkeys(topic.get("consumers", ())):
                if agent in parts.agents:
                    yield names.dead_letter_topic(name, agent), ("topics", template)
        if names.STAGE_PLACE in template:
            for agent, fields in parts.agents.items():
                if fields.get("state"):
                    yield names.changelog_topic(template, agent), ("agents", agent)
                if fields.get("late"):
                    yield names.late_topic(template, agent), ("agents", agent)
                for wait in range(1, len(fields.get("retry", ())) + 1):
                    yield names.retry_topic(template, agent, wait), ("agents", agent)
                yield names.redrive_topic(template, agent), ("agents", agent)


def _names(parts: Parts) -> Iterator[SourceProblem]:
    concrete = list(_concrete(parts))
    for name, at in concrete:
        if not names.is_legal(name):
            yield SourceProblem(
                at, f"{name!r} is no legal topic name; use 1 to {names.MAX_TOPIC_NAME} letters, digits, `.`, `_`, `-`"
            )
    # Kafka refuses names that differ only in `.` and `_`, because its metrics cannot tell them apart.
    counts = Counter(name.replace(".", "_") for name, _ in concrete)
    for name, at in concrete:
        if counts[name.replace(".", "_")] > 1:
            yield SourceProblem(at, f"leads to topic {name!r}, and so does another entry; rename one of them")


RULES: Final[Sequence[Callable[[Parts], Iterator[SourceProblem]]]] = (
    _durability,
    _stages,
    _roles,
    _payloads,
    _examples,
    _raw_topics,
    _retention,
    _retries,
    _names,
)
