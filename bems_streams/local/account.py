"""Whether everything that a cell accepted is accounted for: the broker's log against the store's rows.

Not here: which records are missing (flows/reconcile.py), waiting for it, printing it (cli/demo.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bems_streams.adapters.kafka_reader import KafkaLogReader
from bems_streams.flows.ledger.evidence import Evidence
from bems_streams.flows.ledger.tail import waiting_records
from bems_streams.flows.reconcile import FOREVER_US
from bems_streams.ports import STORE_AGENT, LogReader, Place, StoreReader


@dataclass(frozen=True, slots=True)
class Account:
    """Totals of a cell since it exists, by the agent that writes the store. Markers of transactions are no records."""

    accepted: int
    stored: int
    duplicates: int
    dead_lettered: int
    invoices: int
    stuck: int
    tracked: int
    """Distinct events contained in the invoice states that the store shows."""
    retrying: int = 0

    @property
    def closed(self) -> bool:
        """Every accepted event has exactly one outcome."""
        return self.accepted == self.stored + self.duplicates + self.dead_lettered + self.retrying

    @property
    def settled(self) -> bool:
        """Closed, nothing waits in a lane, and every stored event is part of its invoice's state."""
        return self.closed and not self.retrying and self.tracked >= self.stored


class Accountant:
    """Asks broker and store. Blocking. LogUnavailableError, StoreUnavailableError: nothing is known."""

    def __init__(
        self,
        bootstrap: str,
        stage_topics: Sequence[str],
        partitions: int,
        reader: StoreReader,
        log: LogReader | None = None,
    ) -> None:
        self._reader = reader
        self._places = [(topic, number) for topic in stage_topics for number in range(partitions)]
        self._log = log or KafkaLogReader(bootstrap, client_id="bems-account")
        self._evidence = Evidence(self._log, reader, {})

    def accepted(self) -> int:
        """Records ever appended to the stage topics: those that the ledger counts, and those that wait."""
        log = self._log.extents(self._places)
        spans = self._reader.ledger(STORE_AGENT, 0, FOREVER_US)
        positions: dict[Place, int] = {}
        for span in spans:
            place = span.topic, span.partition
            positions[place] = max(span.next_offset, positions.get(place, 0))
        waiting = waiting_records(self._evidence, log, positions)
        return sum(span.accepted for span in spans) + sum(one.number for one in waiting.values())

    def account(self) -> Account:
        """Accepted first: what is stored afterwards can only be more."""
        accepted = self.accepted()
        counts = self._reader.counts()
        return Account(
            accepted=accepted,
            stored=counts.stored,
            duplicates=counts.duplicates,
            dead_lettered=counts.dead_lettered,
            retrying=counts.retrying,
            invoices=counts.invoices,
            stuck=counts.stuck,
            tracked=sum(invoice.events for invoice in self._reader.invoices()),
        )
