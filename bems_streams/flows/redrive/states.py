"""Invoices as the tracker has them, read from its changelog: those that are asked about, and no others.

Not here: the tracker's own table (runtime), what is decided on it (predict.py).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from bems_streams.ports import Change, LogReader


class States:
    """An InvoiceTable that begins as the changelog is, and that only predictions change. Raises LogUnavailableError."""

    def __init__(self, log: LogReader, changelog: str) -> None:
        self._log = log
        self._changelog = changelog
        self._known: dict[int, dict[bytes, bytes | None]] = {}
        self._predicted: dict[int, dict[bytes, bytes | None]] = {}

    def learn(self, keys: Mapping[int, Collection[bytes]]) -> None:
        """Bring these keys, by partition number, up to now, in one pass."""
        extents = self._log.extents([(self._changelog, number) for number, wanted in keys.items() if wanted])
        for _, number in extents:
            self._known.setdefault(number, {}).update(dict.fromkeys(keys[number]))
        there = {place: extent for place, extent in extents.items() if extent.start < extent.end}
        for record in self._log.read(there) if there else ():
            known = self._known[record.at.partition]
            if record.key in known:
                known[record.key] = record.value

    def get_many(self, number: int, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See InvoiceTable: with what was predicted so far."""
        known, predicted = self._known.get(number, {}), self._predicted.get(number, {})
        return [predicted[key] if key in predicted else known.get(key) for key in keys]

    def apply(self, number: int, changes: Mapping[bytes, Change], changelog_offset: int) -> None:
        """See InvoiceTable: predicted, so nothing is stored."""
        self._predicted.setdefault(number, {}).update({key: change.value for key, change in changes.items()})

    def due(self, number: int, until_us: int, limit: int) -> NoReturn:
        """See InvoiceTable: no deadline is watched here."""
        raise AssertionError("a prediction watches no deadlines")
