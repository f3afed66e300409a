"""What a broker of the embedded cluster is told: the text of server.properties, and how its folder is made ready.

Not here: starting brokers (kafka.py) or fetching Kafka (kafka_dist.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
JVM_OPTIONS: Final = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # starts fastest and is smallest
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
    # thousands of lines of settings that server.properties and the documentation say already
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.log=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.storage.internals.log=warn",
)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where broker `node` listens on loopback: for clients and brokers, and for the controllers' votes."""

    node: int
    port: int
    controller_port: int


def server_properties(node: int, cluster: Sequence[BrokerAddress], log_dir: Path) -> str:
    """The file for one combined broker and controller. Three brokers keep every record on two disks at least."""
    own = next(address for address in cluster if address.node == node)
    replicas = min(3, len(cluster))
    in_sync = max(1, replicas - 1)
    settings = {
        "node.id": node,
        "process.roles": "broker,controller",
        "controller.quorum.voters": ",".join(f"{a.node}@{LOOPBACK}:{a.controller_port}" for a in cluster),
        "listeners": f"PLAINTEXT://{LOOPBACK}:{own.port},CONTROLLER://{LOOPBACK}:{own.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{own.port}",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": log_dir,
        **_durability(replicas, in_sync),
        **_LAPTOP,
    }
    return "".join(f"{name}={_escaped(str(value))}\n" for name, value in settings.items())


def _durability(replicas: int, in_sync: int) -> dict[str, int]:
    return {
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


_LAPTOP: Final = {
    "auto.create.topics.enable": "false",  # topics come from the catalogue; a typo must fail
    "num.partitions": 1,
    # fewer partitions of internal topics: quick to create and to load
    "offsets.topic.num.partitions": 12,
    "transaction.state.log.num.partitions": 12,
    "share.coordinator.state.topic.num.partitions": 12,
    # groups form and notice a dead member within moments
    "group.initial.rebalance.delay.ms": 500,
    "group.min.session.timeout.ms": 1000,
    # a dead producer's transaction must not hold up readers
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
    # a killed broker is noticed after 6 s (9 s by default)
    "broker.session.timeout.ms": 6000,
    "broker.heartbeat.interval.ms": 1000,
    # sized for 512 MB of heap and two cores
    "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,
    # all partitions of compacted topics fill their segments at about the same time: unlimited, cleaning them takes half
    # of the processors for as long as it lasts (15 s in every 300 s at 10,000 events/s)
    "log.cleaner.io.max.bytes.per.second": 16 * 1024 * 1024,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 4,
}


def _escaped(value: str) -> str:
    """A value as java.util.Properties reads it: backslashes doubled, other than Latin-1 as \\uXXXX."""
    return "".join(_escaped_character(character) for character in value)


def _escaped_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if " " <= character <= "~":
        return character
    return "".join(f"\\u{unit:04x}" for unit in _utf16_units(character))


def _utf16_units(character: str) -> list[int]:
    raw = character.encode("utf-16-be")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
