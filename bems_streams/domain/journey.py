"""The stages an invoice passes, in order, and how long it may stay in each.

Not here: reading them from the catalogue (topics.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NewType

StageCode = NewType("StageCode", int)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the journey. `code` stands for it in stored state; `stuck_after_us` is None for no limit."""

    name: str
    code: StageCode
    stuck_after_us: int | None = None


@dataclass(frozen=True)
class Journey:
    """Stages in business order; the last one closes the invoice."""

    stages: tuple[Stage, ...]
    by_name: Mapping[str, Stage] = field(init=False, repr=False, compare=False)
    by_code: Mapping[int, Stage] = field(init=False, repr=False, compare=False)
    rank: Mapping[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {stage.name: stage for stage in self.stages})
        object.__setattr__(self, "by_code", {stage.code: stage for stage in self.stages})
        object.__setattr__(self, "rank", {stage.code: place for place, stage in enumerate(self.stages)})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Stage names in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def final(self) -> Stage:
        """The stage that closes an invoice."""
        return self.stages[-1]
