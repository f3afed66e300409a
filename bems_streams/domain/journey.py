"""The stages an invoice passes, in order, and how long it may stay in each.

Not here: reading them from the catalogue (topics.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NewType, TypeVar

StageCode = NewType("StageCode", int)
_Value = TypeVar("_Value")


class UnknownStageError(LookupError):
    """An event names a stage that the journey does not have. The event is at fault, not the cell."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no stage is called {name!r}; topics.yaml lists the stages")


class StageLostError(LookupError):
    """Stored state names a stage that the catalogue no longer has. Stop: no event of such an invoice can be folded."""

    def __init__(self, code: int) -> None:
        super().__init__(
            f"stored invoices have events in the stage with code {code}, which topics.yaml no longer lists: put the "
            "stage back with that code and start again. A stage may go only when no stored invoice ever passed it."
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the journey. `code` stands for it in stored state; `stuck_after_us` is None for no limit."""

    name: str
    code: StageCode
    stuck_after_us: int | None = None


class _ByName(dict[str, Stage]):
    def __missing__(self, name: str) -> Stage:
        raise UnknownStageError(name)


class _ByCode(dict[int, _Value]):
    def __missing__(self, code: int) -> _Value:
        raise StageLostError(code)


@dataclass(frozen=True)
class Journey:
    """Stages in business order; the last one closes the invoice.

    Names are unique, codes too, and positive: stored state uses 0 for "none".
    `by_name` raises UnknownStageError, `by_code` and `rank` (place in the journey, by code) raise StageLostError.
    """

    stages: tuple[Stage, ...]
    by_name: Mapping[str, Stage] = field(init=False, repr=False, compare=False)
    by_code: Mapping[int, Stage] = field(init=False, repr=False, compare=False)
    rank: Mapping[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes, names = {stage.code for stage in self.stages}, {stage.name for stage in self.stages}
        assert len(codes) == len(names) == len(self.stages) > 0 < min(codes), "the catalogue checks names and codes"
        object.__setattr__(self, "by_name", _ByName({stage.name: stage for stage in self.stages}))
        object.__setattr__(self, "by_code", _ByCode({stage.code: stage for stage in self.stages}))
        object.__setattr__(self, "rank", _ByCode({stage.code: place for place, stage in enumerate(self.stages)}))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Stage names in order."""
        return tuple(stage.name for stage in self.stages)

    @cached_property
    def final(self) -> Stage:
        """The stage that closes an invoice."""
        return self.stages[-1]
