"""Brings the topics of a local cell's broker up to the catalogue.

Not here: what differs and what may be altered (topics_plan.py).
"""

from typing import Final

from bems_streams.adapters.kafka_admin import KafkaTopicAdmin
from bems_streams.local.kafka import EmbeddedKafkaError
from bems_streams.topics import Catalogue
from bems_streams.topics_plan import Patience, apply_plan

TOPICS_SECONDS: Final = 30.0


def make_topics(catalogue: Catalogue, bootstrap: str) -> None:
    """Create and alter what is missing; EmbeddedKafkaError when that does not make the topics as they should be."""
    applied = apply_plan(catalogue, KafkaTopicAdmin(bootstrap, TOPICS_SECONDS), Patience(TOPICS_SECONDS))
    if applied.refused or applied.unsettled:
        different = [difference.describe() for difference in (*applied.refused, *applied.unsettled)]
        raise EmbeddedKafkaError(
            f"this folder's broker has other topics than the catalogue: {'; '.join(different)}. "
            "Give another --state-dir."
        )
