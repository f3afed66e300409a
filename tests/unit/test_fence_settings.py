"""What the fenced producer is set to, as far as it can be seen without a broker."""

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from bems_streams.catalogue.broker_config import MAX_BATCH_BYTES, MAX_DEAD_LETTER_BYTES
from bems_streams.flows.track import MAX_STATE_BYTES
from bems_streams.runtime.fence import SETTINGS, Proofs, UnprovenError

QUIET = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


@pytest.mark.parametrize("size_bytes", [MAX_STATE_BYTES, MAX_BATCH_BYTES, MAX_DEAD_LETTER_BYTES, 20 * MAX_BATCH_BYTES])
def test_whatever_a_topic_took_can_become_a_dead_letter(size_bytes: int) -> None:
    """A topic limits compressed bytes, the client plain ones: its limit must not stop a partition for good."""
    producer, fate = Producer({**QUIET, **SETTINGS}), list[int]()

    producer.produce(
        "t.dlq", value=b"x" * size_bytes, on_delivery=lambda error, _: fate.append(error.code() if error else 0)
    )
    producer.purge()
    producer.poll(5.0)

    assert fate == [KafkaError._PURGE_QUEUE]  # it was in the queue


def test_the_default_would_refuse_it() -> None:
    """The check above can fail."""
    with pytest.raises(KafkaException, match="MSG_SIZE_TOO_LARGE"):
        Producer(QUIET).produce("t", value=b"x" * MAX_BATCH_BYTES)


class Report:
    """What librdkafka tells of one record."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def topic(self) -> str:
        """Always the same."""
        return "t"

    def partition(self) -> int:
        """Always the same."""
        return 3

    def offset(self) -> int | None:
        """Where it is, if that is known."""
        return self._offset


def proofs(*reports: tuple[KafkaError | None, int | None], wanted: int = 1) -> Proofs:
    """After these reports."""
    found = Proofs(wanted)
    for error, offset in reports:
        found.delivered(error, Report(offset))  # type: ignore[arg-type]
    return found


def test_a_report_with_an_offset_is_a_proof() -> None:
    """It also tells where the changelog goes on, offset 0 included."""
    found = proofs((None, 0))

    found.require_all()

    assert found.ends == {("t", 3): 1}


@pytest.mark.parametrize("reports", [[], [(None, -1)], [(None, None)], [(None, -1001)]])
def test_success_without_an_offset_is_no_proof(reports: list[tuple[None, int | None]]) -> None:
    """librdkafka infers the success of a request from that of a later one; committing on that would lose records."""
    with pytest.raises(UnprovenError, match="not proven written"):
        proofs(*reports).require_all()


def test_an_error_of_any_record_is_raised_as_it_is() -> None:
    """So that being fenced is told from a broker that is away."""
    with pytest.raises(KafkaException) as raised:
        proofs((None, 5), (KafkaError(KafkaError._FENCED), None), wanted=2).require_all()

    assert raised.value.args[0].code() == KafkaError._FENCED


def test_one_request_at_a_time_per_broker() -> None:
    """With more, a refused request can be taken for delivered when a later one succeeds."""
    assert SETTINGS["max.in.flight.requests.per.connection"] == 1
