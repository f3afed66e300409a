"""What must hold between the entries of topics.yaml: each rule yields every breach, none stops at the first.

Rules see the entries that are well-formed on their own, so one slip in a file never hides another.
Not here: the form of single entries (document.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from bems_streams.catalogue import names
from bems_streams.catalogue.document import (
    AgentEntry,
    DerivedEntry,
    PayloadEntry,
    StageEntry,
    TopicEntry,
)
from bems_streams.catalogue.source import SourceProblem
from bems_streams.domain.event import parse_event
from bems_streams.domain.problems import Rejected

_M = TypeVar("_M", bound=BaseModel)
PAYLOADS: Final = ("event", "status", "alert")


@dataclass(frozen=True)
class Readable:
    """The well-formed parts of a document; `roles` and `payload_names` include the malformed ones, by name only."""

    replication: int | None
    min_insync_replicas: int | None
    stages: Mapping[int, StageEntry]  # by place in the file
    stage_count: int
    agents: Mapping[str, AgentEntry]
    topics: Mapping[str, TopicEntry]
    payloads: Mapping[str, PayloadEntry]
    derived: DerivedEntry | None
    roles: frozenset[str]
    topic_names: frozenset[str]
    payload_names: frozenset[str]


def readable(document: Mapping[str, Any]) -> Readable:
    """Keep what is well-formed."""
    stages = document.get("stages")
    stages = stages if isinstance(stages, list) else []
    sections = {name: _section(document, name) for name in ("agents", "others", "topics", "payloads")}
    return Readable(
        replication=_whole(document.get("replication")),
        min_insync_replicas=_whole(document.get("min_insync_replicas")),
        stages={at: entry for at, raw in enumerate(stages) if (entry := _valid(StageEntry, raw)) is not None},
        stage_count=len(stages),
        agents=_entries(AgentEntry, sections["agents"]),
        topics=_entries(TopicEntry, sections["topics"]),
        payloads=_entries(PayloadEntry, sections["payloads"]),
        derived=_valid(DerivedEntry, document.get("derived")),
        roles=frozenset({*sections["agents"], *sections["others"]}),
        topic_names=frozenset(sections["topics"]),
        payload_names=frozenset(sections["payloads"]),
    )


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name)
    return {str(key): value for key, value in section.items()} if isinstance(section, dict) else {}


def _entries(model: type[_M], section: Mapping[str, Any]) -> dict[str, _M]:
    return {name: entry for name, raw in section.items() if (entry := _valid(model, raw)) is not None}


def _valid(model: type[_M], raw: object) -> _M | None:
    try:
        return model.model_validate(raw)
    except ValidationError:
        return None  # reported where the whole document is validated


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def broken_rules(document: Mapping[str, Any]) -> list[SourceProblem]:
    """Every breach of every rule."""
    parts = readable(document)
    return [problem for rule in RULES for problem in rule(parts)]


def _durability(parts: Readable) -> Iterator[SourceProblem]:
    replication, least = parts.replication, parts.min_insync_replicas
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
            f"1 with replication {replication} lets an accepted event live on one broker only; write 2",
        )


def _stages(parts: Readable) -> Iterator[SourceProblem]:
    for field in ("name", "code"):
        first: dict[object, str] = {}
        for at, stage in parts.stages.items():
            value = getattr(stage, field)
            if value in first:
                yield SourceProblem(("stages", at, field), f"{value!r} is taken by stage {first[value]!r}; use another")
            first.setdefault(value, stage.name)
    last = parts.stages.get(parts.stage_count - 1)
    if last is not None and last.stuck_after is not None:
        yield SourceProblem(
            ("stages", parts.stage_count - 1, "stuck_after"),
            "the last stage closes the invoice, so nothing can be stuck in it; remove this, or add the stage after it",
        )


def _roles(parts: Readable) -> Iterator[SourceProblem]:
    known = ", ".join(sorted(parts.roles))
    for name, topic in parts.topics.items():
        for side in ("producers", "consumers"):
            roles: Sequence[str] = getattr(topic, side)
            for at, role in enumerate(roles):
                if role not in parts.roles:
                    yield SourceProblem(
                        ("topics", name, side, at), f"{role!r} is neither in `agents` nor in `others` ({known})"
                    )
                elif role in roles[:at]:
                    yield SourceProblem(("topics", name, side, at), f"{role!r} is named twice; remove one")


def _payloads(parts: Readable) -> Iterator[SourceProblem]:
    for name, topic in parts.topics.items():
        if topic.payload not in parts.payload_names:
            yield SourceProblem(
                ("topics", name, "payload"),
                f"{topic.payload!r} is not described in `payloads`; add it there or use one of "
                + ", ".join(sorted(parts.payload_names)),
            )
    malformed = parts.topic_names - parts.topics.keys()
    for payload in PAYLOADS:
        carriers = [name for name, topic in parts.topics.items() if topic.payload == payload]
        if len(carriers) > 1:
            yield SourceProblem(("topics", carriers[1]), f"payload {payload!r} has its place in {carriers[0]} already")
        if not carriers and not malformed:
            yield SourceProblem(("topics",), f"no topic carries payload {payload!r}; add one")
    example = parts.payloads.get("event")
    if example is not None:
        event = parse_event(msgspec.json.encode(example.example))
        if isinstance(event, Rejected):
            for problem in event.problems:
                place = tuple(problem.path.split(".")) if problem.path else ()
                yield SourceProblem(("payloads", "event", "example", *place), problem.message)
        elif event.stage not in {stage.name for stage in parts.stages.values()} and len(parts.stages) == (
            parts.stage_count
        ):
            yield SourceProblem(("payloads", "event", "example", "stage"), f"{event.stage!r} is not one of `stages`")


def _raw_topics(parts: Readable) -> Iterator[SourceProblem]:
    for name, topic in parts.topics.items():
        if (topic.payload == "event") != (name.count(names.STAGE_PLACE) == 1):
            yield SourceProblem(
                ("topics", name),
                f"events, and only events, have a topic per stage: put {names.STAGE_PLACE} in its name",
            )
        if topic.payload != "event":
            continue
        if topic.cleanup != "delete":
            yield SourceProblem(
                ("topics", name, "cleanup"), "compaction would drop all but the newest event of an invoice; use delete"
            )
        if topic.timestamp != "log-append":
            yield SourceProblem(
                ("topics", name, "timestamp"),
                "with the producer's time, retention would delete back-dated events early; use log-append",
            )


def _retention(parts: Readable) -> Iterator[SourceProblem]:
    longest = timedelta()
    for name, topic in parts.topics.items():
        if topic.cleanup == "delete" and topic.retention is None:
            yield SourceProblem(("topics", name, "retention"), "missing: say how long records stay, such as 30d")
        if topic.cleanup == "compact" and topic.retention is not None:
            yield SourceProblem(("topics", name, "retention"), "a compacted topic keeps the newest record; remove this")
        longest = max(longest, topic.retention or timedelta()) if topic.payload == "event" else longest
    for field in ("retry_retention", "dead_letter_retention"):
        if parts.derived is not None and getattr(parts.derived, field) < longest:
            yield SourceProblem(
                ("derived", field),
                f"shorter than the {longest.days}d of the events it holds: an event in repair would go first; raise it",
            )


def _retries(parts: Readable) -> Iterator[SourceProblem]:
    for name, agent in parts.agents.items():
        if list(agent.retry) != sorted(set(agent.retry)):
            yield SourceProblem(("agents", name, "retry"), "each wait must be longer than the one before; reorder them")
        total = sum(agent.retry, timedelta())
        if parts.derived is not None and total >= parts.derived.retry_retention:
            yield SourceProblem(("agents", name, "retry"), "waits longer than derived.retry_retention; raise that")


def _concrete(parts: Readable) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Every topic name that the document leads to, with the place it comes from."""
    stages = [stage.name for stage in parts.stages.values()]
    for template, topic in parts.topics.items():
        fan_out = stages if names.STAGE_PLACE in template else [""]
        for name in dict.fromkeys(names.stage_topic(template, stage) for stage in fan_out):
            yield name, ("topics", template)
            for agent in dict.fromkeys(topic.consumers):
                if agent in parts.agents:
                    yield names.retry_topic(name, agent), ("topics", template)
                    yield names.dead_letter_topic(name, agent), ("topics", template)
    for agent, entry in parts.agents.items():
        if entry.state:
            yield names.changelog_topic(agent), ("agents", agent)


def _names(parts: Readable) -> Iterator[SourceProblem]:
    concrete = list(_concrete(parts))
    for name, at in concrete:
        if not names.is_legal(name):
            yield SourceProblem(
                at, f"{name!r} is no legal topic name: 1 to {names.MAX_TOPIC_NAME} letters, digits, `.`, `_` or `-`"
            )
    # Kafka refuses names that differ only in `.` and `_`, because its metrics cannot tell them apart.
    counts = Counter(name.replace(".", "_") for name, _ in concrete)
    for name, at in concrete:
        if counts[name.replace(".", "_")] > 1:
            yield SourceProblem(at, f"leads to topic {name!r}, and so does another entry; rename one of them")


RULES: Final[Sequence[Callable[[Readable], Iterator[SourceProblem]]]] = (
    _durability,
    _stages,
    _roles,
    _payloads,
    _raw_topics,
    _retention,
    _retries,
    _names,
)
