"""Whether everything that a cell accepted is accounted for: the broker's log against the store's rows.

Not here: waiting for it, printing it (cli/demo.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bems_streams.ports import StoreReader
from bems_streams.runtime.positions import log_ends

TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """Totals of a cell since it exists. Raw topics are written without transactions, so offsets count records."""

    accepted: int
    stored: int
    duplicates: int
    dead_lettered: int
    invoices: int
    stuck: int
    tracked: int
    """Distinct events contained in the invoice states that the store shows."""

    @property
    def closed(self) -> bool:
        """Every accepted event has exactly one outcome."""
        return self.accepted == self.stored + self.duplicates + self.dead_lettered

    @property
    def settled(self) -> bool:
        """Closed, and every stored event is part of its invoice's state."""
        return self.closed and self.tracked >= self.stored


class Accountant:
    """Asks broker and store. Blocking."""

    def __init__(self, bootstrap: str, stage_topics: Sequence[str], partitions: int, reader: StoreReader) -> None:
        self._reader = reader
        self._places = [(topic, number) for topic in stage_topics for number in range(partitions)]
        self._config = {"bootstrap.servers": bootstrap, "metadata.recovery.strategy": "none"}

    def accepted(self) -> int:
        """Records ever appended to the stage topics. KafkaException or TimeoutError while the broker is away."""
        ends = log_ends(self._config, self._places, TIMEOUT_SECONDS)
        return sum(end for _, end in ends.values())

    def account(self) -> Account:
        """Accepted first: what is stored afterwards can only be more."""
        accepted = self.accepted()
        counts = self._reader.counts()
        return Account(
            accepted=accepted,
            stored=counts.stored,
            duplicates=counts.duplicates,
            dead_lettered=counts.dead_lettered,
            invoices=counts.invoices,
            stuck=counts.stuck,
            tracked=sum(invoice.events for invoice in self._reader.invoices()),
        )
