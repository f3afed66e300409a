"""One run of a subject over the common backlog, the tracker or a peer, with the proof that it did the work.

Not here: which subjects and how often (benchmarks/tracker_peers.py).
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from bems_streams.topics import Catalogue
from benchmarks.figures import Run
from benchmarks.peers import verdict
from benchmarks.peers.subject import Backlog, Subject, drain
from benchmarks.tracker import measure

STATUS_CONFIG: Final = {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"}
FEW_CONFIG: Final = {"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime"}


@dataclass
class Contest:
    """The same topics for everybody; `few` is what slow peers get. Every run is checked against `expected`."""

    catalogue: Catalogue
    full: Backlog
    few: Backlog
    folder: Path
    expected: dict[str, Mapping[str, int]] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def run_peer(self, subject: Subject, *, statuses: bool) -> Run:
        """One run. ClickException when its results differ, its changelog lacks an invoice, or its commit an offset."""
        backlog = self.few if subject.slow else self.full
        group = f"bench-{next(self._numbers)}-{'-'.join(subject.name.replace(',', '').split())}"
        folder = self.folder / group
        folder.mkdir()
        status_topic = f"{group}.status" if statuses and subject.publishes else None
        if status_topic is not None:
            verdict.create(backlog.bootstrap, [status_topic], backlog.partitions, STATUS_CONFIG)
        drained = drain(subject, backlog.task(group, status_topic, folder), folder)
        if drained.told:
            self.agree(subject.name, backlog, drained.told)
        if subject.durable:
            verdict.check_committed(subject.name, backlog.bootstrap, group, backlog.topics, backlog.partitions)
            verdict.check_changelog(subject.name, backlog.bootstrap, group, backlog.invoices)
        if status_topic is not None:
            starts = {(status_topic, number): 0 for number in range(backlog.partitions)}
            self.agree(subject.name, backlog, verdict.published(backlog.bootstrap, starts))
        verdict.delete_all_of(backlog.bootstrap, group)
        return drained.run

    def run_tracker(self) -> Run:
        """One run of ours; it always publishes statuses."""
        bootstrap = self.full.bootstrap
        starts = verdict.ends_of(bootstrap, [self.catalogue.status_topic], self.catalogue.partitions)
        run = measure(bootstrap, self.catalogue, self.full.events)
        self.agree("tracker", self.full, verdict.published(bootstrap, starts))
        return run

    def agree(self, name: str, backlog: Backlog, results: Mapping[str, int]) -> None:
        """The feed knows how many invoices and events there are; the digest is that of whoever came first."""
        known = {"invoices": backlog.invoices, "events": backlog.events - backlog.copies}
        expected = self.expected.setdefault(backlog.topics[0], {**results, **known})
        if results != expected:
            raise click.ClickException(f"{name} came to other results: {results} instead of {expected}")
