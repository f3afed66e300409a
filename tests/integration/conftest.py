"""Cells of real processes for the integration tier."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import RunningCell, start_cell, stop_cell

StartCell = Callable[..., RunningCell]


@pytest.fixture
def running_cell(tmp_path: Path) -> Iterator[StartCell]:
    """Starts cells on request: a broker of its own, and the roles named. All are stopped at the end."""
    started: list[RunningCell] = []

    def start(*roles: str, **options: Any) -> RunningCell:
        started.append(start_cell(tmp_path / f"cell-{len(started)}", roles, **options))
        return started[-1]

    yield start
    for running in started:
        stop_cell(running)
