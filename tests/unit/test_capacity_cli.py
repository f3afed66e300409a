"""`bems capacity`: its table, its JSON, and every wrong option named at once."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bems_streams.cli.capacity_screen import shown
from bems_streams.cli.main import main


def capacity(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["capacity", *arguments])


def test_several_rates_stand_beside_each_other_with_what_bounds_each_figure() -> None:
    """A column each; the bound of a figure is named once where it is the same for all."""
    result = capacity("--rate", "1k", "--rate", "10000", "--invoices", "100M")

    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "each cell 1,000/s 10,000/s bounded by" in lines
    assert "cells 1 1" in lines
    assert any(line.startswith("tracker 10 10 open invoices") for line in lines)
    assert any(line.startswith("cost") for line in lines)


def test_json_has_figures_in_base_units_and_the_inputs_they_came_from() -> None:
    """For whoever computes on."""
    result = capacity("--rate", "1000", "--set", "tracker_cpu_us=123", "--json")

    found = json.loads(result.output)
    assert found["inputs"]["tracker_cpu_us"] == {"value": 123.0, "unit": "µs/event"}
    figures = {(each["section"], each["name"]): each for each in found["plans"][0]["figures"]}
    assert figures["disk", "stage topics"]["unit"] == "bytes"
    assert figures["processes", "tracker"] == {
        "section": "processes", "name": "tracker", "value": 10, "unit": "", "bound": "open invoices",
    }  # fmt: skip


def test_markdown_has_a_row_for_each_figure() -> None:
    """As many cells in each row as headings."""
    lines = capacity("--rate", "1000", "--rate", "20000", "--markdown").output.splitlines()

    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {5}
    assert lines[-1] == "20,000 events/s are more than the 10,000/s of one cell: 2 cells, an equal part each."


def test_every_wrong_option_is_named_at_once(tmp_path: Path) -> None:
    """Nobody should have to try six times."""
    values = tmp_path / "values.toml"
    values.write_text('nothing_like_it = 1\nzones = "three"\n')

    result = capacity(
        "--rate", "fast", "--rate", "-1", "--invoices", "0", "--retention", "30", "--values", str(values),
        "--set", "sink_cpu_us", "--set", "utilisation=2",
    )  # fmt: skip

    assert result.exit_code == 2
    told = [line.strip().split(":")[0] for line in result.output.split("correct these:")[1].splitlines() if line]
    assert told == [
        "--rate", "--rate", "--invoices", "--retention", "--values nothing_like_it", "--values zones",
        "--set sink_cpu_us", "--set utilisation",
    ]  # fmt: skip


def test_no_rate_is_asked_for_in_words() -> None:
    """The one thing that has no default."""
    result = capacity()

    assert result.exit_code == 2
    assert "--rate: say how many events per second" in result.output


def test_inputs_of_a_file_and_of_options_replace_those_of_the_package(tmp_path: Path) -> None:
    """The list shows where each is from; an option wins over a file."""
    values = tmp_path / "prices.toml"
    values.write_text("core_hour = 0.02\nbroker_hour = 0.5\n")

    result = capacity("--inputs", "--values", str(values), "--set", "broker_hour=0.7")

    rows = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert "0.02" in rows["core_hour"]
    assert "0.7" in rows["broker_hour"]
    assert "given on the command line" in rows["broker_hour"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.734e12, "bytes", "3.73 TB"),
        (999.0, "bytes", "999 B"),
        (14.1e6, "bytes/s", "14.1 MB/s"),
        (50.0, "s", "50 s"),
        (86.0, "s", "1.43 min"),
        (7200.0, "s", "2 h"),
        (float("inf"), "s", "never"),
        (1422.3, "$/month", "$1,422/month"),
        (0.337, "$", "$0.34"),
        (0.25, "cores", "0.25"),
        (10, "", "10"),
    ],
)
def test_figures_are_shown_in_a_unit_that_suits_their_size(value: float, unit: str, text: str) -> None:
    """Three digits that count."""
    assert shown(value, unit) == text
