"""What a process writes about itself stays readable when the same thing goes wrong a thousand times."""

import logging

from bems_streams.logs import Repeats


def record(message: str, level: int = logging.ERROR) -> logging.LogRecord:
    """One log record of a Kafka client."""
    return logging.LogRecord("client", level, __file__, 1, message, (), None)


def test_a_repeated_error_is_written_once_in_a_while_with_its_count() -> None:
    """Held back within the period; the next one written says how many there were."""
    now = [0.0]
    repeats = Repeats(10.0, lambda: now[0])

    passed = [repeats.filter(record("broker away")) for _ in range(5)]
    other = repeats.filter(record("disk full"))
    now[0] = 11.0
    late = record("broker away")

    assert passed == [True, False, False, False, False]
    assert other
    assert repeats.filter(late)
    assert late.getMessage() == "broker away (4 more like this in 11 s)"


def test_what_is_no_warning_is_never_held_back() -> None:
    """Progress of a restore is the same line again and again, and wanted."""
    repeats = Repeats(10.0, lambda: 0.0)

    assert all(repeats.filter(record("restoring", logging.INFO)) for _ in range(3))
