"""What became of an accepted event, found by its receipt.

The store is asked first, since it keeps what the log has let go of; then the log. Blocking; the ports bound the time.
Not here: HTTP (gateway/lookup.py), how it looks on a terminal (cli/receipt_screen.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bems_streams.domain.standing import Standing
from bems_streams.flows import standing
from bems_streams.flows.receipt import Malformed, Receipt, parse_receipt
from bems_streams.ports import (
    STORE_AGENT,
    Extent,
    HighWatermarks,
    LogReader,
    LogUnavailableError,
    StoreReader,
    StoreUnavailableError,
    StoreUnusableError,
)


class OtherCell(NamedTuple):
    """A receipt of another cell, of which nothing is known here."""

    reason: str


class Unknown(NamedTuple):
    """No event was accepted there: this cell cannot have given the receipt."""

    reason: str


class Away(NamedTuple):
    """What would know cannot be asked now."""

    reason: str


Resolution = Standing | Malformed | OtherCell | Unknown | Away


class ReceiptLog(LogReader, HighWatermarks, Protocol):
    """What is asked of the log."""


@dataclass(frozen=True)
class Receipts:
    """Resolves the receipts of one cell. Any thread may call."""

    cell: str
    topics: Sequence[str]
    """Of the stages."""
    partitions: int
    store: StoreReader
    log: ReceiptLog

    def resolve(self, text: str) -> Resolution:
        """Every receipt that this cell ever gave has a standing; Away when what knows it cannot be asked now."""
        receipt = parse_receipt(text)
        if isinstance(receipt, Malformed):
            return receipt
        if receipt.cell != self.cell:
            whose = f"it was given by cell {receipt.cell!r}; this is cell {self.cell!r}, and nothing crosses cells"
            return OtherCell(f"{whose}: ask a gateway of cell {receipt.cell!r}")
        place = receipt.at.topic, receipt.at.partition
        try:
            if not self.store.exists():
                return self._without_rows(receipt, None)
            # In this order: what is accounted for now has its row already when the rows are looked up.
            accounted = self.store.ledger_positions(STORE_AGENT).get(place, 0)
            fate = self.store.fate(receipt.at)
        except (StoreUnavailableError, StoreUnusableError) as error:
            return Away(f"the store cannot be asked: {error}")
        return standing.of_rows(receipt, fate, accounted) or self._without_rows(receipt, accounted)

    def _without_rows(self, receipt: Receipt, accounted: int | None) -> Resolution:
        """`accounted`: the offset after the last that the sink accounts for; None when there is no store yet."""
        at = receipt.at
        if at.topic not in self.topics:
            taken = ", ".join(self.topics)
            return Unknown(f"the store has no event of topic {at.topic!r}, and events are accepted on {taken} only")
        if at.partition >= self.partitions:
            return Unknown(f"{at.topic} has no partition {at.partition}: its partitions are 0 to {self.partitions - 1}")
        try:
            return self._in_log(receipt, accounted)
        except LogUnavailableError as error:
            return Away(f"the store has not heard of it, and {error}")

    def _in_log(self, receipt: Receipt, accounted: int | None) -> Standing | Unknown | Away:
        (topic, partition, offset), place = receipt.at, (receipt.at.topic, receipt.at.partition)
        end = self.log.high_watermarks([place])[place]
        if offset >= end:
            return Unknown(f"nothing was accepted there yet: partition {partition} of {topic} ends before offset {end}")
        kept = self.log.extents([place])[place]
        if offset < kept.start:
            return _let_go(receipt, accounted)
        if offset >= kept.end:  # behind a transaction that is open: readers do not see it yet
            return standing.accepted(receipt, None, accounted)
        records = list(self.log.read({place: Extent(offset, offset + 1)}))
        if not records:
            return Unknown("no event has this offset: it is a transaction's own, or of a transaction that was given up")
        return _there(receipt, records[0].accepted_us, accounted)


def _let_go(receipt: Receipt, accounted: int | None) -> Standing | Away:
    """No row, and retention has taken the record."""
    if accounted is None:
        return Away("the log has let go of it, and there is no store here: name the right one with --store")
    return standing.missing(receipt, None, "the log has let go of it, and the store has no row of it")


def _there(receipt: Receipt, accepted_us: int, accounted: int | None) -> Standing:
    """No row, and the log has the record."""
    if accounted is not None and receipt.at.offset < accounted:
        why = "the ledger says that it was handled, and no row is left of it, though the log still has it"
        return standing.missing(receipt, accepted_us, why)
    return standing.accepted(receipt, accepted_us, accounted)
