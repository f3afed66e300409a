"""Settings that cannot be read are the user's to correct."""

import pytest
from click.testing import CliRunner

from bems_streams.cli.main import main


def test_bad_environment_variables_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a traceback, whichever command reads them."""
    monkeypatch.setenv("BEMS_PARTITIONS", "many")
    monkeypatch.setenv("BEMS_TIME_SCALE", "0")
    result = CliRunner().invoke(main, ["topics", "plan"])
    assert result.exit_code == 1
    assert "BEMS_PARTITIONS: Input should be a valid integer" in result.output
    assert "BEMS_TIME_SCALE: Input should be greater than 0" in result.output
    assert "Traceback" not in result.output
