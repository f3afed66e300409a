"""The judge of a proof: it says nothing of a cell that kept its promises, and names each one that was broken."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from bems_streams.domain.event import instant, microseconds
from bems_streams.domain.failures import NotJson, Problem, StoreRefused, Unfoldable
from bems_streams.domain.views import decode_alert, decode_status
from bems_streams.flows.lanes import Arrival, Lanes
from bems_streams.flows.ledger.findings import Finding as LedgerFinding
from bems_streams.flows.ledger.findings import Kind, Reconciliation, Total
from bems_streams.local.prove.evidence import MAX_NAMED, SINK, TRACKER, Objection, Verdict
from bems_streams.local.prove.judge import judge
from bems_streams.local.prove.judge_ledger import objections
from bems_streams.ports import AlertRow, Coordinates, DeadLetterRow, OutRecord, RawRecord, RetryRow
from tests.unit.judge_kit import BEGIN_US, CATALOGUE, Remains, with_other_amount

EVENTS, BAD = 400, 18
ALERTS = CATALOGUE.alerts_topic
STATUS = CATALOGUE.status_topic
POSTING = CATALOGUE.stage_topics["posting"]


@pytest.fixture
def remains(tmp_path: Path) -> Remains:
    """Of a cell that kept its promises."""
    return Remains(tmp_path).live(EVENTS, BAD)


def broken(verdict: Verdict) -> dict[str, int]:
    """By guarantee; each that is counted is named, too."""
    assert {finding.guarantee for finding in verdict.findings} == verdict.broken.keys()
    assert verdict.closed == (not verdict.broken)
    return dict(verdict.broken)


def test_a_cell_that_kept_its_promises_is_closed(remains: Remains) -> None:
    """Events, copies, bad records, alerts raised and cleared: all of it adds up, and nothing is found."""
    verdict = remains.verdict()
    totals = verdict.totals
    assert broken(verdict) == {}
    assert totals.acknowledged + BAD == totals.accepted == totals.stored + totals.duplicates + totals.dead_lettered
    assert (totals.dead_lettered, totals.retrying, totals.missing) == (BAD, 0, 0)
    assert totals.duplicates > 5
    assert totals.value_accepted == totals.value_stored != {}
    assert totals.invoices == len(remains.store.states) > 20
    kinds = [str(decode_alert(record.value or b"").kind) for record in remains.log.of(ALERTS)]
    assert min(kinds.count(kind) for kind in ("stuck", "cleared")) > 10


def test_progress_is_told(remains: Remains) -> None:
    """For a progress bar: what is being checked, how much of it is done."""
    told: list[tuple[str, int, int]] = []
    judge(remains.evidence(), lambda *step: told.append(step))
    assert [done for what, done, _ in told if what.startswith("log")] == [0, 1, 2]


Tampering = Callable[[Remains], str | None]
"""Breaks one promise; returns the event, receipt or invoice that the finding must name."""


def lose_a_row(remains: Remains) -> str:
    row = next(row for row in remains.store.rows if not copies_of(remains, row.event_id))
    remains.store.rows.remove(row)
    return row.event_id


def copies_of(remains: Remains, event_id: str) -> list[Coordinates]:
    return [row.at for row in remains.store.duplicates if row.event_id == event_id]


def lose_a_note_of_a_duplicate(remains: Remains) -> str:
    return remains.store.duplicates.pop().event_id


def note_all_copies_as_duplicates_of_nothing(remains: Remains) -> str:
    row = next(row for row in remains.store.rows if copies_of(remains, row.event_id))
    remains.store.rows.remove(row)
    note = next(note for note in remains.store.duplicates if note.event_id == row.event_id)
    remains.store.duplicates.append(note._replace(at=row.at))
    return row.event_id


def hide_an_event_from_its_id(remains: Remains) -> str:
    row = remains.store.rows[7]
    remains.store.unfindable.add((row.invoice_id, row.event_id))
    return row.event_id


def acknowledge_what_the_log_lacks(remains: Remains) -> str:
    nowhere = RawRecord(Coordinates(POSTING, 1, 99_999), b"i", b"", [], 0)
    remains.acknowledge(nowhere, "lost-1", "i")
    return f"c/{POSTING}/1/99999"


def acknowledge_another_event_than_the_log_holds(remains: Remains) -> str:
    record = remains.log.of(POSTING)[0]
    remains.acknowledge(record, "lost-2", "i")
    return "lost-2"


def prove_a_bad_record_that_the_log_lacks(remains: Remains) -> str:
    remains.poisoned(RawRecord(Coordinates(POSTING, 2, 99_999), None, None, [], 0))
    return f"c/{POSTING}/2/99999"


def store_a_record_twice(remains: Remains) -> str:
    remains.store.rows.append(remains.store.rows[3])
    return remains.store.rows[3].event_id


def store_an_event_from_its_copy_too(remains: Remains) -> str:
    note = remains.store.duplicates.pop()
    row = next(row for row in remains.store.rows if row.event_id == note.event_id)
    remains.store.rows.append(row._replace(at=note.at, accepted_us=note.accepted_us))
    return note.event_id


def store_what_no_log_holds(remains: Remains) -> str:
    row = remains.store.rows[3]
    remains.store.rows.append(row._replace(at=Coordinates(POSTING, 0, 99_999), event_id="ghost"))
    return "ghost"


def note_a_duplicate_that_no_log_holds(remains: Remains) -> str:
    note = remains.store.duplicates[0]
    remains.store.duplicates.append(note._replace(at=Coordinates(POSTING, 0, 99_999)))
    return f"c/{POSTING}/0/99999"


def note_a_stored_record_as_a_duplicate(remains: Remains) -> None:
    row = remains.store.rows[3]
    remains.store.duplicates.append(remains.store.duplicates[0]._replace(at=row.at, currency=None, invoice_amount=None))


def note_a_stored_record_as_a_dead_letter(remains: Remains) -> str:
    row, letter = remains.store.rows[3], next(row for row in remains.store.letters if row.agent == SINK)
    remains.store.letters.append(letter._replace(at=row.at, event_id=row.event_id))
    return row.event_id


def change_an_amount_in_a_row(remains: Remains) -> str:
    remains.store.rows[9] = with_other_amount(remains.store.rows[9])
    return remains.store.rows[9].event_id


def change_the_amount_of_a_duplicate(remains: Remains) -> None:
    remains.store.duplicates[0] = remains.store.duplicates[0]._replace(invoice_amount="0.01")


def change_when_an_event_happened(remains: Remains) -> str:
    row = remains.store.rows[9]
    remains.store.rows[9] = row._replace(occurred_us=row.occurred_us + 1)
    return row.event_id


def publish_a_stale_state_last(remains: Remains) -> str:
    by_invoice = {record.key: record for record in remains.log.of(STATUS)}
    first = next(r for r in remains.log.of(STATUS) if r.value and by_invoice[r.key] is not r)
    newest = by_invoice[first.key]
    remains.log.replace(newest._replace(value=first.value))
    return (first.key or b"").decode()


def fold_a_wrong_state(remains: Remains) -> str:
    """Topic and store agree with each other, but not with the events."""
    newest = remains.log.of(STATUS)[-1]
    invoice_id = (newest.key or b"").decode()
    value = (newest.value or b"").replace(b'"skipped_stages":[', b'"skipped_stages":["posting"', 1)
    remains.log.replace(newest._replace(value=value))
    remains.store.states[invoice_id] = remains.store.states[invoice_id]._replace(document=value.decode())
    return invoice_id


def never_publish_a_state(remains: Remains) -> str:
    key = next(record.key for record in remains.log.of(STATUS) if not alerts_of(remains, record.key))
    for record in remains.log.of(STATUS):
        if record.key == key:
            remains.log.remove(record.at)
    return (key or b"").decode()


def show_a_stale_state(remains: Remains) -> str:
    records = remains.log.of(STATUS)
    stale = next(invoice_id for invoice_id, row in remains.store.states.items() if row.revision > 1)
    row = remains.store.states[stale]
    older = next(r for r in records if r.key == stale.encode() and decode_status(r.value or b"").revision == 1)
    remains.store.states[stale] = row._replace(revision=1, document=(older.value or b"").decode())
    return stale


def show_another_amount_than_the_document(remains: Remains) -> str:
    row = next(iter(remains.store.states.values()))
    remains.store.states[row.invoice_id] = row._replace(invoice_amount="1.00")
    return row.invoice_id


def show_an_invoice_without_events(remains: Remains) -> str:
    row = next(iter(remains.store.states.values()))
    remains.store.states["ghost"] = row._replace(invoice_id="ghost")
    return "ghost"


def publish_a_state_without_events(remains: Remains) -> str:
    remains.log.append(OutRecord(STATUS, b"ghost", b"{}", partition=0), BEGIN_US)
    return "ghost"


def alerts_of(remains: Remains, key: bytes | None) -> list[RawRecord]:
    return [record for record in remains.log.of(ALERTS) if record.key == key]


def an_alert(remains: Remains, kind: str, *, out: bool) -> RawRecord:
    """The last of an invoice (`out`), or one that something follows."""
    for record in remains.log.of(ALERTS):
        last = alerts_of(remains, record.key)[-1] is record
        if decode_alert(record.value or b"").kind == kind and last == out:
            return record
    raise AssertionError("there is none")


def lose_an_alert(remains: Remains) -> str:
    record = an_alert(remains, "stuck", out=True)
    remains.log.remove(record.at)
    return (record.key or b"").decode()


def lose_an_alert_that_was_cleared(remains: Remains) -> str:
    record = an_alert(remains, "stuck", out=False)
    remains.log.remove(record.at)
    return (record.key or b"").decode()


def lose_a_clearing(remains: Remains) -> str:
    record = an_alert(remains, "cleared", out=True)
    remains.log.remove(record.at)
    return (record.key or b"").decode()


def never_clear_an_alert(remains: Remains) -> str:
    """Topics and store agree that the invoice is stuck still, where the events say that it has moved on."""
    cleared = an_alert(remains, "cleared", out=True)
    deadline = decode_alert(cleared.value or b"").deadline
    invoice_id = (cleared.key or b"").decode()
    remains.log.remove(cleared.at)
    remains.store.alerts = [
        row
        for row in remains.store.alerts
        if (row.invoice_id, row.deadline_us, row.kind) != (invoice_id, microseconds(deadline), "cleared")
    ]
    newest = [record for record in remains.log.of(STATUS) if record.key == cleared.key][-1]
    value = (newest.value or b"").replace(
        b'"stuck_since":null', b'"stuck_since":"' + deadline.isoformat().encode() + b'"'
    )
    remains.log.replace(newest._replace(value=value))
    row = remains.store.states[invoice_id]
    remains.store.states[invoice_id] = row._replace(stuck_since_us=microseconds(deadline), document=value.decode())
    return invoice_id


def publish_an_alert_twice(remains: Remains) -> str:
    record = an_alert(remains, "stuck", out=True)
    remains.log.append(OutRecord(ALERTS, record.key, record.value, partition=record.at.partition), BEGIN_US)
    return (record.key or b"").decode()


def publish_an_alert_and_its_clearing_twice(remains: Remains) -> str:
    cleared = an_alert(remains, "cleared", out=True)
    for record in alerts_of(remains, cleared.key)[-2:]:
        remains.log.append(OutRecord(ALERTS, record.key, record.value, partition=record.at.partition), BEGIN_US)
    return (cleared.key or b"").decode()


def lose_an_alert_in_the_store(remains: Remains) -> str:
    return remains.store.alerts.pop().invoice_id


def show_an_alert_that_was_never_published(remains: Remains) -> str:
    alert = remains.store.alerts[0]
    remains.store.alerts.append(alert._replace(deadline_us=1))
    return alert.invoice_id


def show_no_stuck_invoice(remains: Remains) -> str:
    row = next(row for row in remains.store.states.values() if row.stuck_since_us is not None)
    remains.store.states[row.invoice_id] = row._replace(stuck_since_us=None)
    return row.invoice_id


def raise_a_false_alarm(remains: Remains) -> str:
    """Stuck and cleared at once, for a deadline which the next event came before."""
    row = next(
        row
        for row in remains.store.states.values()
        if row.status == "closed" and not alerts_of(remains, row.invoice_id.encode())
    )
    document = decode_status(row.document)
    stage = document.stages["ingestion"]
    limit_us = remains.evidence().rules.limits_us["ingestion"]
    template = decode_alert(an_alert(remains, "stuck", out=True).value or b"")
    deadline_us = microseconds(stage.first_accepted_at) + limit_us
    number = next(r.at.partition for r in remains.log.of(STATUS) if r.key == row.invoice_id.encode())
    for kind in ("stuck", "cleared"):
        alert = msgspec.to_builtins(template) | {"kind": kind, "stage": "ingestion", "invoice_id": row.invoice_id}
        alert["deadline"] = instant(deadline_us).isoformat()
        remains.log.append(
            OutRecord(ALERTS, row.invoice_id.encode(), msgspec.json.encode(alert), partition=number), BEGIN_US
        )
        remains.store.alerts.append(AlertRow(row.invoice_id, "ingestion", deadline_us, kind, 0, "{}"))
    return row.invoice_id


def a_letter(remains: Remains, agent: str) -> RawRecord:
    topic = CATALOGUE.dead_letter_topic(POSTING, agent)
    return next(record for record in remains.log.of(topic) if record.value)


def change_the_bytes_of_a_dead_letter(remains: Remains) -> None:
    record = a_letter(remains, SINK)
    remains.log.replace(record._replace(value=(record.value or b"") + b" "))


def change_the_key_of_a_dead_letter(remains: Remains) -> None:
    record = a_letter(remains, TRACKER)
    remains.log.replace(record._replace(key=b"other"))


def lose_a_header_of_a_dead_letter(remains: Remains) -> None:
    event = remains.log.of(POSTING)[0]
    remains.set_aside(TRACKER, event._replace(headers=[]), NotJson((Problem("", "made up"),)))
    invoice_id = (event.key or b"").decode()
    forget_invoice_event(remains, invoice_id)


def forget_invoice_event(remains: Remains, invoice_id: str) -> None:
    """The tracker gave one event up, so its invoice is another; only the letter is of interest here."""
    for topic in (STATUS, ALERTS):
        for record in remains.log.of(topic):
            if record.key == invoice_id.encode():
                remains.log.remove(record.at)
    remains.store.states.pop(invoice_id, None)


def lose_a_dead_letter(remains: Remains) -> None:
    remains.log.remove(a_letter(remains, TRACKER).at)


def write_a_dead_letter_without_origin(remains: Remains) -> None:
    record = a_letter(remains, SINK)
    remains.log.replace(record._replace(headers=[("x", b"y")]))


def write_a_dead_letter_of_nothing(remains: Remains) -> None:
    nowhere = RawRecord(Coordinates(POSTING, 1, 99_999), b"i", b"", [], 0)
    remains.set_aside(TRACKER, nowhere, NotJson((Problem("", "made up"),)))


def leave_a_record_in_a_lane(remains: Remains) -> str:
    record = remains.log.of(POSTING)[0]
    lanes = Lanes.of(CATALOGUE, SINK, "c", "r")
    aside = lanes.set_aside(Arrival(record, None), StoreRefused((Problem("", "no"),)), BEGIN_US)
    waiting = remains.log.append(aside.out, BEGIN_US)
    remains.groups[SINK].behind[waiting.at.topic, waiting.at.partition] = 1
    return f"c/{'/'.join(map(str, record.at))}"


def leave_a_note_of_waiting(remains: Remains) -> str:
    row = remains.store.rows[4]
    remains.store.waiting.append(
        RetryRow(row.at, TRACKER, "store_refused", "no", 1, 0, 0, 0, row.invoice_id, row.event_id)
    )
    return row.event_id


@pytest.mark.parametrize(
    ("guarantee", "tamper"),
    [
        ("G1", lose_a_row),
        ("G1", lose_a_note_of_a_duplicate),
        ("G1", note_all_copies_as_duplicates_of_nothing),
        ("G1", hide_an_event_from_its_id),
        ("G1", acknowledge_what_the_log_lacks),
        ("G1", acknowledge_another_event_than_the_log_holds),
        ("G1", prove_a_bad_record_that_the_log_lacks),
        ("G2", store_a_record_twice),
        ("G2", store_an_event_from_its_copy_too),
        ("G2", store_what_no_log_holds),
        ("G2", note_a_duplicate_that_no_log_holds),
        ("G2", note_a_stored_record_as_a_duplicate),
        ("G2", note_a_stored_record_as_a_dead_letter),
        ("G3", publish_a_stale_state_last),
        ("G3", fold_a_wrong_state),
        ("G3", never_publish_a_state),
        ("G3", show_a_stale_state),
        ("G3", show_another_amount_than_the_document),
        ("G3", show_an_invoice_without_events),
        ("G3", publish_a_state_without_events),
        ("G5", lose_an_alert),
        ("G5", lose_an_alert_that_was_cleared),
        ("G5", lose_a_clearing),
        ("G5", never_clear_an_alert),
        ("G5", publish_an_alert_twice),
        ("G5", publish_an_alert_and_its_clearing_twice),
        ("G5", lose_an_alert_in_the_store),
        ("G5", show_an_alert_that_was_never_published),
        ("G5", show_no_stuck_invoice),
        ("G5", raise_a_false_alarm),
        ("G8", leave_a_record_in_a_lane),
        ("G8", leave_a_note_of_waiting),
        ("G9", change_the_bytes_of_a_dead_letter),
        ("G9", change_the_key_of_a_dead_letter),
        ("G9", lose_a_dead_letter),
        ("G9", write_a_dead_letter_without_origin),
        ("G9", write_a_dead_letter_of_nothing),
        ("G10", change_an_amount_in_a_row),
        ("G10", change_the_amount_of_a_duplicate),
        ("G10", change_when_an_event_happened),
    ],
)
def test_what_is_tampered_with_is_found_under_its_guarantee_and_nothing_else_is(
    remains: Remains, guarantee: str, tamper: Tampering
) -> None:
    """One broken promise, one guarantee, by name."""
    named = tamper(remains)
    verdict = remains.verdict()
    assert broken(verdict).keys() == {guarantee}, verdict.findings
    if named is not None:
        assert any(named in finding for finding in verdict.findings), verdict.findings


def test_a_lost_row_is_counted_as_missing(remains: Remains) -> None:
    """The totals say so as well, and still add up."""
    lose_a_row(remains)
    totals = remains.verdict().totals
    assert totals.missing == 1
    assert totals.accepted == totals.stored + totals.duplicates + totals.dead_lettered + totals.missing


def test_an_event_that_the_tracker_gave_up_is_no_part_of_the_state(remains: Remains) -> None:
    """The state without it is right, the state with it is not; what the sink stored is not touched by that."""
    invoice_id = next(row.invoice_id for row in remains.store.states.values() if row.events > 3)
    event = next(
        r for topic in CATALOGUE.stage_topics.values() for r in remains.log.of(topic) if r.key == invoice_id.encode()
    )
    remains.set_aside(TRACKER, event, Unfoldable((Problem("", "made up"),)))
    verdict = remains.verdict()
    assert "G3" in broken(verdict)
    assert broken(verdict).keys() <= {"G3", "G5"}


def test_a_dead_letter_of_the_sink_is_found_by_its_note_when_its_topic_is_empty(remains: Remains) -> None:
    """A record that is no event and of which no letter was kept is poison that was thrown away."""
    letter = next(row for row in remains.store.letters if row.agent == SINK)
    for topic in CATALOGUE.stage_topics.values():
        for record in remains.log.of(CATALOGUE.dead_letter_topic(topic, SINK)):
            remains.log.remove(record.at)
    verdict = remains.verdict()
    assert broken(verdict) == {"G9": BAD}
    assert any(finding.receipt == f"c/{'/'.join(map(str, letter.at))}" for finding in verdict.findings)


def test_findings_are_bounded_and_all_counted(remains: Remains) -> None:
    """A disaster does not fill the report: the first hundred are named, all are counted."""
    lost = len(remains.store.rows)
    remains.store.rows.clear()
    verdict = remains.verdict()
    assert verdict.broken["G1"] >= lost > MAX_NAMED
    assert sum(finding.guarantee == "G1" for finding in verdict.findings) == MAX_NAMED


def test_what_the_ledger_itself_objects_to_counts(remains: Remains) -> None:
    """Its verification is asked last, and its findings stand under the closing ledger."""
    objection = Objection("a range was never written", f"c/{POSTING}/0/1..5")
    evidence = remains.evidence()
    verdict = judge(replace(evidence, verify=lambda: [objection]))
    assert broken(verdict) == {"G10": 1}
    assert verdict.findings[0][1:] == (*objection,)


def test_everything_that_keeps_the_ledger_open_is_an_objection() -> None:
    """Named findings by receipt; sums that differ; what is pending or unsettled although the cell is at rest."""
    closed = Reconciliation(0, 0, 1, {}, [Total("EUR", Decimal(3), Decimal(3), Decimal(3))])
    assert objections(closed, "c") == []
    missing = LedgerFinding(Kind.MISSING, SINK, POSTING, 2, 7, 8, "no row", 1, "i", "e")
    found = replace(
        closed,
        findings=[missing],
        totals=[Total("EUR", Decimal(3), Decimal("2.99"), Decimal(3))],
        pending={SINK: 0, TRACKER: 4},
        unsettled=1,
    )
    named, *others = objections(found, "c")
    assert named[1:] == (f"c/{POSTING}/2/7", "e", "i")
    assert [word in one.what for word, one in zip(("2.99", "4 offsets", "1 entries"), others, strict=True)] == [
        True
    ] * 3


def test_a_deadline_within_the_margin_needs_no_alert_yet(remains: Remains) -> None:
    """An invoice that became stuck a moment ago may still be without its alert; later it may not."""
    record = an_alert(remains, "stuck", out=True)
    lose_an_alert(remains)
    alert = decode_alert(record.value or b"")
    deadline_us = microseconds(alert.deadline)

    def lost(judged_us: int) -> bool:
        verdict = judge(replace(remains.evidence(), judged_us=judged_us))
        return any("never raised" in finding.what for finding in verdict.findings)

    assert not lost(deadline_us + 900_000)
    assert lost(deadline_us + 1_100_000)


def test_store_rows_of_other_topics_are_no_concern_of_the_stages(remains: Remains) -> None:
    """The sink may give up a record of the status topic: it has a letter, and no part in the ledger."""
    record = remains.log.of(STATUS)[0]
    remains.set_aside(SINK, record, NotJson((Problem("", "made up"),)))
    assert isinstance(remains.store.letters[-1], DeadLetterRow)
    assert broken(remains.verdict()) == {}
