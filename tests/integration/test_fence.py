"""A worker that was frozen longer than its session is fenced by the broker, however far it had come."""

import os
import signal
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from bems_streams.domain.codec import TrackedInvoice, decode_tracked, encode_tracked
from bems_streams.flows.tracking import CurrentDeadlines
from bems_streams.local.kafka import EmbeddedKafka
from bems_streams.local.processes import ProcessSpec
from bems_streams.local.supervisor import ChildState
from bems_streams.ports import OutRecord
from bems_streams.runtime.fence import FencedError, KafkaFencedLog
from bems_streams.runtime.membership import Membership
from bems_streams.runtime.positions import log_ends, stable_positions
from bems_streams.runtime.restore import Restore
from bems_streams.topics import load_catalogue
from tests.integration.conftest import StartCell
from tests.support import REPOSITORY, RunningCell, eventually, read_topic, real_lines
from tests.unit.table_kit import open_table


def revisions(running: RunningCell, topic: str) -> dict[bytes, list[int]]:
    """All revisions of every invoice that a topic shows to committed readers, in log order."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for record in running.records(topic):
        value = record.value()
        if topic == running.catalogue.status_topic:
            found[record.key()].append(msgspec.json.decode(value)["revision"])
        else:
            found[record.key()].append(decode_tracked(value).revision)
    return found


def freeze_take_over_and_resume(running: RunningCell, mode: str, marker: Path) -> int | None:
    """A tracker freezes between deciding and publishing; another takes over and finishes; the first wakes up.

    Returns how the first one ended; None when it goes on.
    """
    lines = list(real_lines())[:3000]
    processes = running.cell.processes
    ordinary = running.cell.spec("tracker")
    worker = list(ordinary.command[ordinary.command.index("worker") + 1 :])
    command = [sys.executable, "-m", "tests.integration.zombie", mode, str(marker), *worker]
    processes.start(ProcessSpec("zombie", command, ordinary.log_path.with_name("zombie.log"), ordinary.env, REPOSITORY))
    running.append(lines)
    eventually(marker.exists, bool)
    zombie = next(status.pid for status in processes.statuses() if status.name == "zombie")
    assert zombie is not None
    heir = [*ordinary.command[:-1], "6", "--instance", "tracker-1", "--health-port", "0"]
    processes.start(replace(ordinary, name="heir", command=heir))
    running.settle(len(lines))

    os.kill(zombie, signal.SIGCONT)

    def ended() -> int | None:
        status = next(status for status in processes.statuses() if status.name == "zombie")
        return status.exit_code if status.restarts or status.state is ChildState.WAITING else None

    return eventually(ended, lambda code: code is not None or mode == "unfenced")


def test_a_tracker_frozen_past_its_session_changes_no_state_and_no_output(
    running_cell: StartCell, tmp_path: Path
) -> None:
    """It wakes with a decided batch in hand; the broker refuses it, and the process ends without acking."""
    running = running_cell("sink")

    exit_code = freeze_take_over_and_resume(running, "fenced", tmp_path / "frozen")

    assert exit_code == 70
    for topic in (running.catalogue.status_topic, running.catalogue.changelog_topic("tracker")):
        for invoice, seen in revisions(running, topic).items():
            assert seen == list(range(1, len(seen) + 1)), (topic, invoice)


def test_without_the_fence_the_same_freeze_is_seen(running_cell: StartCell, tmp_path: Path) -> None:
    """The test above can fail: with the fence taken out, stale states appear behind newer ones."""
    running = running_cell("sink")

    freeze_take_over_and_resume(running, "unfenced", tmp_path / "frozen")

    def stale() -> bool:
        found = revisions(running, running.catalogue.changelog_topic("tracker"))
        return any(seen != list(range(1, len(seen) + 1)) for seen in found.values())

    assert eventually(stale, bool)


@pytest.fixture
def places(kafka: EmbeddedKafka, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A source topic and an output topic of one partition each, new for every test."""
    names = (f"source-{request.node.name}", f"output-{request.node.name}")
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for created in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        created.result(30)
    return names


def joined(kafka: EmbeddedKafka, group: str, topic: str) -> tuple[Consumer, Membership]:
    """A real member of a real group, and who it is."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group, "session.timeout.ms": 6000})
    consumer.subscribe([topic])
    eventually(lambda: (consumer.poll(0.1), consumer.assignment())[1], bool)
    raw = consumer.consumer_group_metadata()
    generation = int.from_bytes(raw[7:11], "little", signed=True)
    _, member, *_ = raw[11:].split(b"\0")
    return consumer, Membership(group, generation, member.decode(), None)


async def test_a_stale_generation_publishes_nothing(kafka: EmbeddedKafka, places: tuple[str, str]) -> None:
    """Records and offsets of a worker of an earlier generation are refused together."""
    source, output = places
    consumer, membership = joined(kafka, "stale", source)
    log = KafkaFencedLog({"bootstrap.servers": kafka.bootstrap}, "stale-0")
    log.start()
    await log.publish([OutRecord(output, b"k", b"first", partition=0)], {(source, 0): 1}, membership)

    with pytest.raises(FencedError):
        stale = membership._replace(generation=membership.generation - 1)
        await log.publish([OutRecord(output, b"k", b"second", partition=0)], {(source, 0): 2}, stale)

    assert [record.value() for record in read_topic(kafka.bootstrap, output, 1)] == [b"first"]
    assert consumer.committed([TopicPartition(source, 0)], 10)[0].offset == 1
    consumer.close()


async def test_positions_wait_for_transactions_of_earlier_members(
    kafka: EmbeddedKafka, places: tuple[str, str]
) -> None:
    """While an earlier member's transaction may still commit offsets, nobody is told where to go on."""
    source, output = places
    consumer, membership = joined(kafka, "pending", source)
    config = {"bootstrap.servers": kafka.bootstrap}
    open_transaction = Producer({**config, "transactional.id": "pending-0", "transaction.timeout.ms": 60_000})
    open_transaction.init_transactions(30)
    open_transaction.begin_transaction()
    open_transaction.produce(output, b"x", partition=0)
    open_transaction.send_offsets_to_transaction([TopicPartition(source, 0, 7)], membership.metadata(), 30)

    with pytest.raises(KafkaException):
        stable_positions(config, "pending", [(source, 0)], 3.0)
    open_transaction.abort_transaction(30)

    assert stable_positions(config, "pending", [(source, 0)], 30.0) == {(source, 0): 0}
    consumer.close()


def test_restoring_waits_for_what_is_committed_behind_an_open_transaction(
    kafka: EmbeddedKafka, places: tuple[str, str], tmp_path: Path
) -> None:
    """A zombie's open transaction hides later committed records from readers: restoring must not end before them."""
    _, changelog = places
    config = {"bootstrap.servers": kafka.bootstrap}
    zombie, rightful = (
        Producer({**config, "transactional.id": f"restore-{name}", "transaction.timeout.ms": 4_000}) for name in "ab"
    )
    for producer in (zombie, rightful):
        producer.init_transactions(30)
        producer.begin_transaction()
    zombie.produce(changelog, encode_tracked(TrackedInvoice.new()), b"stale", partition=0)
    zombie.flush(30)
    rightful.produce(changelog, encode_tracked(TrackedInvoice.new()), b"good", partition=0)
    rightful.commit_transaction(30)
    table = open_table(tmp_path, 0, CurrentDeadlines(load_catalogue().journey()))
    ends = log_ends(config, [(changelog, 0)], 10.0)

    Restore(config, changelog, ends, 60.0, lambda *_: None).run([table])

    assert [key for key, _ in table.items()] == [b"good"]
    table.close()
