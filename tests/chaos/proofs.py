"""Running a proof within a test. Not here: which ones (test_*.py)."""

from rich.console import Console

from bems_streams.local.prove.proof import Proof
from bems_streams.local.prove.run import Run
from bems_streams.local.prove.screen import Screen
from bems_streams.local.prove.site import ProveOptions


def prove(options: ProveOptions) -> Proof:
    """Run it; what it says is kept beside its folder."""
    with (options.state_dir.parent / "screen.txt").open("w", encoding="utf-8") as out:
        return Run(options, Screen(Console(file=out), options.minutes * 60)).run()
