"""What a difference between cluster and catalogue means: what it endangers, whether it is repaired, and the way out.

Pure. Not here: finding differences or applying changes (topics_plan.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, NamedTuple

from bems_streams.topics import TopicSpec

WHOLE_TOPIC: Final = "topic"  # the "setting" of a difference about a topic as such
_INFINITE: Final = -1
_UNKNOWN: Final = "unknown"  # a setting that the cluster did not tell


class FoundTopic(NamedTuple):
    """A topic as a cluster has it. `replication` is that of its least replicated partition."""

    partitions: int
    replication: int
    config: Mapping[str, str]
    leaderless: int = 0  # partitions that nobody can write to now


class Remedy(StrEnum):
    """What `apply` does about a difference."""

    CREATE = "create"
    ALTER = "alter"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Difference:
    """One way in which the cluster is not what the catalogue says.

    `danger` says how events could be lost or misplaced because of it; empty: they cannot.
    `advice` says why the remedy is what it is, and the way out when it is refused.
    """

    topic: str
    setting: str  # a Kafka setting, or: partitions, replication, WHOLE_TOPIC
    wanted: str
    found: str
    remedy: Remedy
    danger: str = ""
    advice: str = ""

    @property
    def unsafe(self) -> bool:
        """Whether events could be lost or misplaced because of it."""
        return bool(self.danger)

    def describe(self) -> str:
        """Topic, setting and both values."""
        return f"{self.topic}: {self.setting} is {self.found}, not {self.wanted}"


def same_value(wanted: str, found: str | None) -> bool:
    """Whether two settings mean the same: numbers by value, policies in any order."""
    if found is None:
        return False
    try:
        return Decimal(wanted) == Decimal(found)
    except InvalidOperation:
        return _parts(wanted) == _parts(found)


def missing(spec: TopicSpec) -> Difference:
    """A topic that the cluster lacks."""
    shape = f"{spec.partitions} partitions, replication {spec.replication}"
    return Difference(
        spec.name, WHOLE_TOPIC, shape, "missing", Remedy.CREATE, danger="records for it would have nowhere to go"
    )


def left_over(name: str) -> Difference:
    """A topic that only an earlier catalogue can have made."""
    return Difference(
        name,
        WHOLE_TOPIC,
        "absent",
        "present",
        Remedy.REFUSE,
        advice="it may hold events that nobody reads any more; put it back into topics.yaml, or, once it is "
        "archived or empty, delete it yourself with kafka-topics.sh --delete",
    )


def other_partitions(spec: TopicSpec, found: FoundTopic) -> Difference:
    """Never repaired: the partition of an invoice is its key's hash modulo their number."""
    why = (
        "more partitions would send the next event of an invoice to another partition than its earlier ones"
        if found.partitions < spec.partitions
        else "Kafka cannot take partitions away"
    )
    return Difference(
        spec.name,
        "partitions",
        str(spec.partitions),
        str(found.partitions),
        Remedy.REFUSE,
        danger="events of one invoice would meet different workers",
        advice=f"{why}; keep {found.partitions} (topics.yaml or BEMS_PARTITIONS), or open a new cell with "
        f"{spec.partitions}, or, if the topic is still empty, delete it with kafka-topics.sh --delete and apply again",
    )


def other_replication(spec: TopicSpec, found: FoundTopic) -> Difference:
    """Never repaired here: it moves data between brokers, for hours, and needs a plan of its own."""
    fewer = found.replication < spec.replication
    return Difference(
        spec.name,
        "replication",
        str(spec.replication),
        str(found.replication),
        Remedy.REFUSE,
        danger="fewer copies than promised: the loss of brokers could lose events" if fewer else "",
        advice="changing it moves data between brokers: use kafka-reassign-partitions.sh, or keep "
        f"{found.replication} (topics.yaml or BEMS_REPLICATION)",
    )


def other_setting(spec: TopicSpec, found: FoundTopic, setting: str, may_drop: bool) -> Difference:
    """A Kafka setting with another value. Refused when the change itself would delete records or stop writes."""
    wanted, present = spec.config[setting], found.config.get(setting, _UNKNOWN)
    objection = _objection(setting, wanted, present, found)
    if objection is not None and objection.overruled_by_operator and may_drop:
        objection = None
    danger = _DANGERS.get(setting, _no_danger)(wanted, present)
    return Difference(
        spec.name,
        setting,
        wanted,
        present,
        Remedy.ALTER if objection is None else Remedy.REFUSE,
        danger=danger,
        advice="" if objection is None else objection.advice,
    )


class _Objection(NamedTuple):
    advice: str
    overruled_by_operator: bool


def _objection(setting: str, wanted: str, present: str, found: FoundTopic) -> _Objection | None:
    """Why the change must not simply be made."""
    if setting == "retention.ms" and "delete" in found.config.get("cleanup.policy", "") and _less(wanted, present):
        return _Objection(
            "a shorter retention deletes records for good; keep it (topics.yaml), or, if they may go, "
            "apply with --may-drop and the topic's name",
            overruled_by_operator=True,
        )
    if setting == "cleanup.policy" and "compact" in _parts(wanted) - _parts(present):
        return _Objection(
            "compaction deletes all but the newest record of every key; if they may go, "
            "apply with --may-drop and the topic's name",
            overruled_by_operator=True,
        )
    if setting == "min.insync.replicas" and _less(str(found.replication), wanted):
        return _Objection(
            f"with replication {found.replication} no write could succeed; raise the replication first "
            "(kafka-reassign-partitions.sh), or lower min_insync_replicas (topics.yaml or BEMS_MIN_INSYNC_REPLICAS)",
            overruled_by_operator=False,
        )
    return None


def _parts(value: str) -> set[str]:
    return {part.strip().lower() for part in value.split(",")}


def _less(one: str, other: str) -> bool:
    """Whether a limit is tighter than another; -1 is no limit, and what is no number is not comparable."""
    try:
        first, second = int(one), int(other)
    except ValueError:
        return False
    return first != _INFINITE and (second == _INFINITE or first < second)


def _no_danger(_wanted: str, _present: str) -> str:
    return ""


def _if_less(danger: str) -> Callable[[str, str], str]:
    """Dangerous when the cluster's limit is tighter than the catalogue's, or unknown."""
    return lambda wanted, present: danger if present == _UNKNOWN or _less(present, wanted) else ""


def _always(danger: str) -> Callable[[str, str], str]:
    return lambda _wanted, _present: danger


def _cleanup(wanted: str, present: str) -> str:
    if "compact" in _parts(present) - _parts(wanted):
        return "compaction would drop all but the newest record of every key"
    return (
        "records that must stay would be deleted after a time" if "delete" in _parts(present) - _parts(wanted) else ""
    )


_DANGERS: Final[Mapping[str, Callable[[str, str], str]]] = {
    "cleanup.policy": _cleanup,
    "retention.ms": _if_less("records would be deleted before their time"),
    "retention.bytes": _if_less("a size limit would delete records before their time"),
    "message.timestamp.type": _always("record times are not the broker's: retention and order of arrival are wrong"),
    "min.insync.replicas": _if_less("an accepted event could live on too few brokers"),
    "unclean.leader.election.enable": _always("a broker that missed events could become leader and drop them"),
    "delete.retention.ms": _if_less("a worker that was away could miss deletions and revive old state"),
}
