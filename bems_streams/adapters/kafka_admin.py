"""A cluster's topics through librdkafka's admin client: read, create, alter. Blocking: call it off the event loop.

Not here: what should be there (topics.py) or what to do about differences (topics_plan.py).
"""

import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, TimeoutError
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its package re-exports them implicitly
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from bems_streams.topics import Catalogue, TopicSpec
from bems_streams.topics_plan import TopicAdminError, check_cluster, refuse_unsafe
from bems_streams.topics_policy import FoundTopic

DEFAULT_PORT: Final = 9092
PROBE_SECONDS: Final = 2.0
GRACE_SECONDS: Final = 1.0  # librdkafka ends a request on its own; this is for the case that it does not
_QUIET: Final = 0  # librdkafka's own log goes to standard error; what matters comes as exceptions
_ADVICE: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant this user Describe, DescribeConfigs, Create and AlterConfigs on it",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant this user Create on the cluster",
    KafkaError.INVALID_REPLICATION_FACTOR: "start more brokers, or lower it (topics.yaml, BEMS_REPLICATION)",
    KafkaError.POLICY_VIOLATION: "the cluster's own policy forbids it: ask who runs the cluster",
}


class KafkaTopicAdmin:
    """The TopicAdmin of a real cluster. Every call ends within `timeout_seconds`, or so, and raises TopicAdminError.

    `options` are librdkafka's, for TLS and SASL.
    """

    def __init__(self, bootstrap: str, timeout_seconds: float, options: Mapping[str, str] | None = None) -> None:
        self._bootstrap = bootstrap
        self._timeout_seconds = timeout_seconds
        self._said = said = list[str]()  # a callback that held `self` would leave the client to the garbage collector
        require_listener(bootstrap, min(PROBE_SECONDS, timeout_seconds))
        config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": "bems-topics",
            "socket.timeout.ms": int(timeout_seconds * 1000),
            "log_level": _QUIET,
            "error_cb": lambda error: said.append(error.str()),
            **(options or {}),
        }
        self._client = AdminClient(config)

    def names(self) -> Collection[str]:
        """Every topic that can be seen."""
        return self._metadata().keys()

    def describe(self, names: Collection[str]) -> Mapping[str, FoundTopic]:
        """Those of `names` that exist, with their settings in force."""
        there = {name: topic for name, topic in self._metadata().items() if name in names and topic.partitions}
        if not there:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in there]
        with self._explained():
            answers = self._client.describe_configs(resources, request_timeout=self._timeout_seconds)
        configs: dict[str, Mapping[str, ConfigEntry]] = {}
        # A topic may be gone, or not yet be known to the broker that answers: not there, then.
        self._await(
            {resource.name: answer for resource, answer in answers.items()},
            lambda name, entries: configs.update({name: entries}),
            tolerated=KafkaError.UNKNOWN_TOPIC_OR_PART,
        )
        return {name: _found(there[name], entries) for name, entries in configs.items()}

    def create(self, specs: Sequence[TopicSpec]) -> None:
        """Create topics; one that exists already is left as it is."""
        new = [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=spec.replication,
                config=dict(spec.config),
            )
            for spec in specs
        ]
        with self._explained():
            answers = self._client.create_topics(
                new, operation_timeout=self._timeout_seconds, request_timeout=self._timeout_seconds
            )
        self._await(answers, tolerated=KafkaError.TOPIC_ALREADY_EXISTS)

    def alter(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Set the named settings of each topic; the others stay."""
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                name,
                incremental_configs=[
                    ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
                    for setting, value in config.items()
                ],
            )
            for name, config in configs.items()
        ]
        with self._explained():
            answers = self._client.incremental_alter_configs(resources, request_timeout=self._timeout_seconds)
        self._await({resource.name: answer for resource, answer in answers.items()})

    def _metadata(self) -> Mapping[str, TopicMetadata]:
        with self._explained():
            return self._client.list_topics(timeout=self._timeout_seconds).topics

    def _await(
        self,
        answers: Mapping[str, Future[Any]],
        keep: Callable[[str, Any], None] = lambda _name, _result: None,
        tolerated: int | None = None,
    ) -> None:
        """Wait for the answer about every topic; TopicAdminError names each that failed."""
        failed = []
        for name, answer in answers.items():
            try:
                keep(name, answer.result(self._timeout_seconds + GRACE_SECONDS))
            except KafkaException as exception:
                error = exception.args[0]
                if error.code() != tolerated:
                    advice = _ADVICE.get(error.code(), "see the broker's log; running this again is safe")
                    failed.append(f"  {name}: {error.str()}; {advice}")
            except TimeoutError:
                failed.append(f"  {name}: no answer within {self._timeout_seconds:g} s; running this again is safe")
        if failed:
            raise TopicAdminError("\n".join([f"Kafka at {self._bootstrap} refused:", *failed]))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn librdkafka's failures into ours, with what it had to say meanwhile."""
        self._said.clear()
        try:
            yield
        except KafkaException as exception:
            self._client.poll(0)
            reasons = dict.fromkeys([exception.args[0].str(), *self._said])
            raise TopicAdminError(
                f"Kafka at {self._bootstrap} gave no usable answer within {self._timeout_seconds:g} s "
                f"({'; '.join(reasons)}); check the address, TLS and credentials"
            ) from exception


def _found(topic: TopicMetadata, entries: Mapping[str, ConfigEntry]) -> FoundTopic:
    partitions = topic.partitions.values()
    return FoundTopic(
        partitions=len(partitions),
        replication=min(len(partition.replicas) for partition in partitions),
        config={name: entry.value for name, entry in entries.items() if entry.value is not None},
        leaderless=sum(partition.leader < 0 for partition in partitions),
    )


def require_listener(bootstrap: str, timeout_seconds: float) -> None:
    """TopicAdminError with every reason unless one of the addresses accepts connections. Quick, unlike librdkafka."""
    reasons = []
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            with socket.create_connection(
                (host.strip("[]") or port, int(port) if host else DEFAULT_PORT), timeout_seconds
            ):
                return
        except (OSError, ValueError) as error:
            reasons.append(f"{address.strip()}: {error}")
    raise TopicAdminError(
        f"no Kafka answers at {bootstrap} ({'; '.join(reasons)}); start it, or say where it is with --bootstrap or "
        "BEMS_BOOTSTRAP (`bems local kafka` runs one on this machine)"
    )


def refuse_unsafe_cluster(catalogue: Catalogue, bootstrap: str, timeout_seconds: float) -> None:
    """Return when the cluster's topics can neither lose nor misplace events.

    UnsafeClusterError names every reason otherwise; TopicAdminError when the cluster cannot be asked.
    """
    refuse_unsafe(check_cluster(catalogue, KafkaTopicAdmin(bootstrap, timeout_seconds)))
