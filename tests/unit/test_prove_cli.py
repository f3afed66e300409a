"""`bems prove` before anything is started: the plan, wrong options, the catalogue of the cell."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bems_streams.cli.prove import command
from bems_streams.local.prove.plan import make_plan
from bems_streams.local.prove.site import ProveOptions, make_site, write_catalogue
from bems_streams.local.skewed_clock import VARIABLE
from bems_streams.topics import load_catalogue


def test_the_plan_of_a_seed_is_printed() -> None:
    """Every fault of it, and nothing happens."""
    result = CliRunner().invoke(command, ["--list", "--seed", "7", "--minutes", "5"])

    lines = result.output.splitlines()
    options = ProveOptions(Path("/nowhere"), 5.0, 1000.0, 7)
    plan = make_plan(7, 5.0, options.site)
    assert result.exit_code == 0
    assert [line.split(maxsplit=1)[1] for line in lines[1:-1]] == [planned.describe().strip() for planned in plan]
    assert lines[0].startswith(f"seed 7: {len(plan)} faults in 5 minutes")
    assert lines[-1].startswith("attacked: ")


def test_a_fault_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    """A wrong option, before anything starts."""
    result = CliRunner().invoke(command, ["--list", "--faults", "kill-sink,kill-everyone"])

    assert result.exit_code == 2
    assert "kill-everyone" in result.output
    assert "rolling-restart" in result.output


def test_the_folder_of_an_earlier_proof_is_refused(tmp_path: Path) -> None:
    """Its events would be counted once more."""
    (tmp_path / "load").mkdir()

    result = CliRunner().invoke(command, ["--state-dir", str(tmp_path)])

    assert result.exit_code == 2
    assert "holds an earlier proof" in result.output


def test_the_catalogue_of_a_proof_is_the_products_with_short_waits(tmp_path: Path) -> None:
    """Replicated as in production; all else is as it ships."""
    shipped, proven = load_catalogue(), load_catalogue(write_catalogue(tmp_path))

    assert (proven.replication, proven.min_insync_replicas) == (3, 2)
    assert proven.retry_waits("sink") < shipped.retry_waits("sink")
    assert [spec.name for spec in proven.topics()] == [spec.name for spec in shipped.topics()]


@pytest.mark.parametrize(("minutes", "day_seconds"), [(0.6, 10.0), (10.0, 30.0), (20.0, 60.0), (600.0, 60.0)])
def test_limits_pass_while_the_proof_lasts(minutes: float, day_seconds: float) -> None:
    """A day of an invoice is a twentieth of it, neither too short to be watched nor longer than a minute."""
    assert ProveOptions(Path("/nowhere"), minutes).time_scale == pytest.approx(86_400 / day_seconds)


def test_every_worker_has_a_clock_of_its_own_and_all_share_the_troubled_store(tmp_path: Path) -> None:
    """Gateways and the ledger have the machine's clock."""
    made = make_site(ProveOptions(tmp_path), lambda _: None, lambda _: None)

    clocks = made.cell.options.environment_of
    assert sorted(clocks) == ["sink-0", "sink-1", "tracker-0", "tracker-1"]
    assert len({environment[VARIABLE] for environment in clocks.values()}) == 4
    assert made.cell.options.store.startswith(f"faulty:{tmp_path}")
    assert made.cell.options.store.endswith("|" + ProveOptions(tmp_path).store_url)
