"""One figure of a plan: a number with its unit and what bounds it. Not here: how it comes about (plan.py)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

TOPICS: Final = ("stage topics", "ledger topic", "status topic", "changelog")
"""Figures of disk that are on brokers."""


class Section(StrEnum):
    """What a figure is about, in the order in which people ask."""

    PROCESSES = "processes"
    CORES = "cores"
    MEMORY = "memory"
    BROKERS = "brokers"
    DISK = "disk"
    NETWORK = "network"
    TIMES = "times"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class Figure:
    """`bound` says in a few words what makes it as large as it is: `CPU`, `open invoices`, `least`."""

    section: Section
    name: str
    value: float
    unit: str
    bound: str


class Bound(NamedTuple):
    """A need, and who has it."""

    value: float
    bound: str


def largest(*needs: tuple[float, str]) -> Bound:
    """The need that decides; the first of equals."""
    return Bound(*max(needs, key=lambda need: need[0]))
