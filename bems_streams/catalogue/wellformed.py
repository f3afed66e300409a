"""Keeps the parts of a document that are well-formed on their own, so that one slip never hides another from the rules.

Not here: reporting what is malformed (the whole document is validated for that), or comparing parts (rules.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from bems_streams.catalogue.document import AgentEntry, DerivedEntry, Entry, PayloadEntry, StageEntry, TopicEntry

Fields = Mapping[str, Any]  # the valid fields of one entry, parsed, with defaults; malformed ones are absent


@dataclass(frozen=True)
class Parts:
    """What can be compared."""

    cell: Fields
    stages: tuple[Fields, ...]
    agents: Mapping[str, Fields]
    topics: Mapping[str, Fields]
    payloads: Mapping[str, Fields]
    derived: Fields
    others: frozenset[str]

    @property
    def roles(self) -> frozenset[str]:
        """Everybody who may write or read, malformed entries too: they exist, after all."""
        return self.others | self.agents.keys()


def wellformed(document: Mapping[str, Any]) -> Parts:
    """The well-formed parts of a document of any shape."""
    stages = document.get("stages")
    return Parts(
        cell={
            name: document[name] for name in ("replication", "min_insync_replicas") if type(document.get(name)) is int
        },
        stages=tuple(_fields(StageEntry, raw) for raw in stages) if isinstance(stages, list) else (),
        agents={name: _fields(AgentEntry, raw) for name, raw in _section(document, "agents").items()},
        topics={name: _fields(TopicEntry, raw) for name, raw in _section(document, "topics").items()},
        payloads={name: _fields(PayloadEntry, raw) for name, raw in _section(document, "payloads").items()},
        derived=_fields(DerivedEntry, document.get("derived")),
        others=frozenset(_section(document, "others")),
    )


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = document.get(name)
    return {key: value for key, value in section.items() if isinstance(key, str)} if isinstance(section, dict) else {}


def _fields(model: type[Entry], raw: object) -> Fields:
    given = raw if isinstance(raw, dict) else {}
    valid: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name not in given:
            if not field.is_required():
                valid[name] = field.default
            continue
        try:
            valid[name] = _reader(model, name).validate_python(given[name])
        except ValidationError:
            continue  # absent from the result; the whole document's validation reports it
    return valid


@cache
def _reader(model: type[Entry], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    annotated: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(annotated)
