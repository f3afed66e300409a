"""A clock that is wrong on request, and the right one without a request."""

from pathlib import Path

import pytest

from bems_streams.adapters.clock import SystemClock
from bems_streams.config import Settings
from bems_streams.local.skewed_clock import LOOK_SECONDS, VARIABLE, SkewedClock, clock_of, set_offset

NOW_US = 1_700_000_000_000_000


class Stopped:
    """A clock that stands."""

    def now_us(self) -> int:
        """Always the same."""
        return NOW_US


class Rig:
    """The clock under test, and the time by which it looks."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "clocks" / "sink-0"
        self.seconds = 0.0
        self.clock = SkewedClock(self.path, Stopped(), lambda: self.seconds)

    def later(self) -> int:
        """The time on the clock after it has looked again."""
        self.seconds += LOOK_SECONDS
        return self.clock.now_us()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Nothing asked for yet."""
    return Rig(tmp_path)


def test_without_a_request_the_clock_is_right(rig: Rig) -> None:
    """To the microsecond."""
    assert rig.clock.now_us() == NOW_US


@pytest.mark.parametrize("seconds", [3600.5, -86_400.0])
def test_a_clock_jumps_forth_and_back(rig: Rig, seconds: float) -> None:
    """By what the file says, and right again when it says 0."""
    set_offset(rig.path, seconds)
    assert rig.later() == NOW_US + seconds * 1e6

    set_offset(rig.path, 0)
    assert rig.later() == NOW_US


def test_the_file_is_not_read_for_every_question(rig: Rig) -> None:
    """Workers ask the time for every batch: a look at most every LOOK_SECONDS."""
    assert rig.clock.now_us() == NOW_US
    set_offset(rig.path, 5)

    assert rig.clock.now_us() == NOW_US
    assert rig.later() == NOW_US + 5_000_000


def test_a_file_without_a_number_is_an_error(rig: Rig) -> None:
    """A proof whose clocks do not jump would prove nothing."""
    rig.path.parent.mkdir()
    rig.path.write_text("soon")

    with pytest.raises(ValueError, match=r"sink-0 holds 'soon'"):
        rig.later()


def test_a_process_has_the_machines_clock_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one variable of its environment."""
    set_offset(tmp_path / "offset", 3600)
    plain = clock_of(Settings().clock_offset_file)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "offset"))

    skewed = clock_of(Settings().clock_offset_file)

    assert type(plain) is SystemClock
    assert abs(skewed.now_us() - plain.now_us() - 3600e6) < 60e6
