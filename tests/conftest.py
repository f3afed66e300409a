"""What every test tier shares. Servers start on first use, on free loopback ports, and are stopped by pid."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from bems_streams.local.kafka import EmbeddedKafka

pytest_plugins = ("tests.tiers", "tests.last_words", "pytester")

settings.register_profile("bems", deadline=None)  # a busy machine is no failure
settings.load_profile("bems")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A real Kafka of one broker, for all tests: use topic and group names of your own."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A real Kafka of three brokers. A test that kills one restarts it before it ends."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka-cluster"), brokers=3) as cluster:
        yield cluster
