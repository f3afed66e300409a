"""What the proof holds the product to: each guarantee by its id, in one sentence.

Not here: how each is checked (judge.py), what attacks it (kinds.py). docs/guarantees.md has a page for each.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GUARANTEES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "G1": "nothing acknowledged is lost",
        "G2": "nothing counts twice",
        "G3": "every invoice's state equals a fold of its events",
        "G4": "a worker that lost its partitions changes nothing",
        "G5": "no alert is lost, none comes twice",
        "G6": "while too few brokers are up, events are refused, not lost",
        "G7": "a store that is away or slow pauses the sink, moves nothing, and visibility recovers",
        "G8": "a record that fails alone waits in a lane, heals or becomes a dead letter, and holds nothing up",
        "G9": "poison is kept with its bytes, and stops nobody",
        "G10": "the ledger closes, to the cent",
        "G11": "orderly restarts lose nothing",
        "G12": "a wrong clock changes no state",
    }
)
