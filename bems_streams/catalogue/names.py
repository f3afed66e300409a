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


def retry_topic(topic: str, agent: str) -> str:
    """Where `agent` puts records of `topic` that it will try again."""
    return f"{topic}.{agent}.retry"


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
    lane = rf"(?:{'|'.join(forms.values())})(?:\.{part}\.(?:retry|dlq))?"
    changelogs = [rf"{form}\.changelog" for entry, form in forms.items() if STAGE_PLACE in entry]
    return re.fullmatch("|".join([lane, *changelogs]), name) is not None
