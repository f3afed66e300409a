"""How names of topics are made from names of stages and agents. Not here: which topics exist (topics.py)."""

import re
from collections.abc import Iterable
from typing import Final

STAGE_PLACE: Final = "{stage}"
MAX_TOPIC_NAME: Final = 249  # Kafka's limit
_LEGAL: Final = re.compile(rf"[a-zA-Z0-9._-]{{1,{MAX_TOPIC_NAME}}}")


def is_legal(topic: str) -> bool:
    """Whether Kafka takes the name."""
    return _LEGAL.fullmatch(topic) is not None and topic not in {".", ".."}


def stage_topic(template: str, stage: str) -> str:
    """The topic of one stage."""
    return template.replace(STAGE_PLACE, stage)


def retry_topic(template: str, agent: str, wait: int) -> str:
    """Where `agent` puts what it tries again after its wait number `wait`, counted from 1."""
    return f"{stage_topic(template, agent)}.retry-{wait}"


def late_topic(template: str, agent: str) -> str:
    """Where `agent` puts what its store takes by the way for late events only."""
    return f"{stage_topic(template, agent)}.late"


def redrive_topic(template: str, agent: str) -> str:
    """Where dead letters of `agent` come back to it."""
    return f"{stage_topic(template, agent)}.redrive"


def dead_letter_topic(topic: str, agent: str) -> str:
    """Where `agent` puts records of `topic` that it cannot handle."""
    return f"{topic}.{agent}.dlq"


def changelog_topic(template: str, agent: str) -> str:
    """Where `agent` keeps its state: beside the stage topics, so that cells on one cluster never share it."""
    return f"{stage_topic(template, agent)}.changelog"


def could_have_made(name: str, declared: Iterable[str]) -> bool:
    """Whether a topic's name has the form of one that a catalogue with these entries leads to."""
    part = "[a-z][a-z0-9-]*"
    forms = {entry: re.escape(entry).replace(re.escape(STAGE_PLACE), part) for entry in declared}
    declared_or_dead = rf"(?:{'|'.join(forms.values())})(?:\.{part}\.dlq)?"
    own = r"changelog|late|redrive|retry-[0-9]+"
    of_agents = [rf"{form}\.(?:{own})" for entry, form in forms.items() if STAGE_PLACE in entry]
    return re.fullmatch("|".join([declared_or_dead, *of_agents]), name) is not None
