"""The audit entries of redrives: written step by step, read back to list runs and to go on with one.

Not here: when a step is reached (run.py).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from bems_streams.domain.accounting import AuditDocument, decode_audit, encode_accounting
from bems_streams.domain.event import instant, microseconds
from bems_streams.flows.dead_letters import Filter
from bems_streams.flows.redrive.terms import Terms
from bems_streams.ports import LogReader, OutRecord, Place
from bems_streams.topics import Catalogue

ACTION: Final = "redrive"


class Step(StrEnum):
    """How far a run is; the newest entry tells. Every run that is not finished can go on."""

    STARTED = "started"
    SENDING = "sending"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"


@dataclass(frozen=True)
class Run:
    """One run of a redrive. `positions`: next offset per place of the dead-letter topics; `ends`: where these, the
    redrive topic and the ledger's ended when it began.
    """

    name: str
    who: str
    terms: Terms
    ends: Mapping[Place, int]
    prediction: Mapping[str, int] = field(default_factory=dict)
    result: Mapping[str, int] = field(default_factory=dict)
    positions: Mapping[Place, int] = field(default_factory=dict)
    step: Step = Step.STARTED
    at_us: int = 0
    reason: str | None = None

    def ends_of(self, topics: Collection[str]) -> dict[Place, int]:
        """Where these topics ended when the run began."""
        return {place: end for place, end in self.ends.items() if place[0] in topics}

    def entry(self, topic: str, cell: str, region: str) -> OutRecord:
        """As published."""
        document = AuditDocument(
            run=self.name,
            action=ACTION,
            step=self.step.value,
            who=self.who,
            at=instant(self.at_us),
            agent=self.terms.agent,
            filter=typed(self.terms),
            prediction=dict(self.prediction),
            result=dict(self.result),
            positions=_named(self.positions),
            ends=_named(self.ends),
            reason=self.reason,
            cell=cell,
            region=region,
        )
        return OutRecord(topic, self.name.encode(), encode_accounting(document))


class Audit(NamedTuple):
    """Every redrive by name, oldest first, as its newest entry tells; `unreadable`: records that are no audit entry."""

    runs: Mapping[str, Run]
    unreadable: int


def read_audit(log: LogReader, catalogue: Catalogue) -> Audit:
    """All entries of a run have the same key, so they are in order. Raises LogUnavailableError."""
    extents = log.extents([(catalogue.audit_topic, number) for number in range(catalogue.partitions)])
    there = {place: extent for place, extent in extents.items() if extent.start < extent.end}
    found: dict[str, Run] = {}
    unreadable = 0
    for record in log.read(there) if there else ():
        try:
            document = decode_audit(record.value or b"")
            if document.action == ACTION:
                found[document.run] = _run(document)
        except (ValueError, LookupError):  # msgspec's are ValueErrors
            unreadable += 1
    return Audit(dict(sorted(found.items())), unreadable)


def _run(document: AuditDocument) -> Run:
    given = document.filter
    times = {name: microseconds(datetime.fromisoformat(given[name])) for name in ("since", "until") if name in given}
    terms = Terms(
        agent=document.agent,
        filter=Filter(
            agent=document.agent,
            code=given.get("code"),
            stage=given.get("stage"),
            since_us=times.get("since"),
            until_us=times.get("until"),
            invoice=given.get("invoice"),
        ),
        max_redrives=int(given["max-redrives"]),
        limit=int(given["limit"]) if "limit" in given else None,
    )
    return Run(
        name=document.run,
        who=document.who,
        terms=terms,
        ends=_places(document.ends),
        prediction=document.prediction,
        result=document.result,
        positions=_places(document.positions),
        step=Step(document.step),
        at_us=microseconds(document.at),
        reason=document.reason,
    )


def typed(terms: Terms) -> dict[str, str]:
    """As it would be typed, with times made absolute."""
    asked = terms.filter
    given = {
        "code": asked.code,
        "stage": asked.stage,
        "since": None if asked.since_us is None else instant(asked.since_us).isoformat(),
        "until": None if asked.until_us is None else instant(asked.until_us).isoformat(),
        "invoice": asked.invoice,
        "max-redrives": str(terms.max_redrives),
        "limit": None if terms.limit is None else str(terms.limit),
    }
    return {name: value for name, value in given.items() if value is not None}


def _named(offsets: Mapping[Place, int]) -> dict[str, int]:
    return {f"{topic}/{number}": offset for (topic, number), offset in offsets.items()}


def _places(named: Mapping[str, int]) -> dict[Place, int]:
    parts = {name.rpartition("/"): offset for name, offset in named.items()}
    return {(topic, int(number)): offset for (topic, _, number), offset in parts.items()}
