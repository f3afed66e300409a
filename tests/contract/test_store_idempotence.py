"""However a log is cut into batches, repeated and resumed, the store ends up the same. Runs on each store."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bems_streams.adapters.stores import STORES, Backend, backend_of
from bems_streams.domain.failures import Failure
from bems_streams.ports import DeadLetterRow, EventRow, InvoiceRow, StageStanding, StoreBatch, StoreCounts, WriteOutcome
from tests.contract.conftest import fresh
from tests.contract.rows import NOW_US, SECOND_US, dead_letter, event, invoice

Record = EventRow | DeadLetterRow

amounts = st.one_of(st.none(), st.decimals(-1000, 1000, places=3).map(str))


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """A log: few events, some of them at several offsets, some offsets undecodable."""
    log: list[Record] = []
    for offset in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from("abcdX"))
        if name == "X":
            log.append(dead_letter(offset))
            continue
        accepted_us = NOW_US + draw(st.integers(0, 3 * SECOND_US))
        log.append(event(name, offset, accepted_us=accepted_us, invoice_amount=draw(amounts)))
    return log


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Record], list[list[Record]]]:
    """A log and how it was read: cut anywhere, rewound any number of times, at last read to its end."""
    log = draw(logs())
    batches: list[list[Record]] = []
    for _ in range(draw(st.integers(0, 4))):
        stop = draw(st.integers(0, len(log)))
        batches += cut(draw, log[: max(stop, 1)])
    batches += cut(draw, log)
    return log, batches


def cut(draw: st.DrawFn, log: list[Record]) -> list[list[Record]]:
    """Consecutive batches that together are `log`."""
    places = sorted({0, len(log), *draw(st.lists(st.integers(0, len(log)), max_size=4))})
    return [log[first:last] for first, last in pairwise(places)]


def deliver(backend: Backend, batches: list[list[Record]]) -> Counter[WriteOutcome | Failure]:
    """Write the batches; count the outcomes."""
    outcomes: Counter[WriteOutcome | Failure] = Counter()
    store = backend.open_store()
    for batch in batches:
        result = store.write(
            StoreBatch(
                events=[row for row in batch if isinstance(row, EventRow)],
                dead_letters=[row for row in batch if isinstance(row, DeadLetterRow)],
            )
        )
        outcomes.update(result.outcomes)
    store.close()
    return outcomes


def content(backend: Backend) -> tuple[StoreCounts, *tuple[object, ...]]:
    """All that a reader can see, the counts first."""
    reader = backend.open_reader()
    timeline = reader.timeline("INV-1")
    seen = (
        reader.counts(),
        list(reader.events()),
        list(timeline.duplicates),
        list(reader.dead_letters()),
        list(reader.activity(0, 2 * NOW_US)),
        list(reader.rates(0, 2 * NOW_US, SECOND_US)),
    )
    reader.close()
    return seen


@pytest.mark.parametrize("scheme", sorted(STORES))
@settings(max_examples=60, deadline=None)
@given(delivery=deliveries())
def test_any_delivery_of_a_log_gives_what_one_pass_gives(
    scheme: str, delivery: tuple[list[Record], list[list[Record]]]
) -> None:
    """Same rows and sums as one pass in memory; each record counts once; outcomes add up to rows."""
    log, batches = delivery
    once = backend_of("memory:")
    deliver(once, [[record] for record in log])
    with fresh(scheme) as backend:
        outcomes = deliver(backend, batches)

        counts, *_ = found = content(backend)
        assert found == content(once)
        assert counts.stored + counts.duplicates + counts.dead_lettered == len(log)
        assert outcomes[WriteOutcome.STORED] == counts.stored
        assert outcomes[WriteOutcome.DUPLICATE] == counts.duplicates


@pytest.mark.parametrize("scheme", sorted(STORES))
@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(
        st.lists(
            st.builds(
                lambda name, revision, stage, stuck, amount: invoice(
                    f"INV-{name}",
                    revision,
                    stage=stage,
                    stuck_since_us=NOW_US if stuck else None,
                    invoice_amount=amount,
                    currency="EUR" if stuck or amount else None,
                ),
                st.sampled_from("abc"),
                st.integers(1, 5),
                st.sampled_from(["ingestion", "posting"]),
                st.booleans(),
                amounts,
            ),
            max_size=6,
        ),
        max_size=5,
    )
)
def test_standing_always_equals_what_the_invoices_say(scheme: str, batches: list[list[InvoiceRow]]) -> None:
    """Sums that are kept agree with sums that are computed, whatever came in whatever order."""
    once = backend_of("memory:")
    with fresh(scheme) as backend:
        for target in (once, backend):
            store = target.open_store()
            for batch in batches:
                store.write(StoreBatch(invoices=batch))
            store.close()

        reader = backend.open_reader()
        standing: list[StageStanding] = list(reader.standing())
        rows, counts = list(reader.invoices()), reader.counts()
        reader.close()

    assert standing == list(once.open_reader().standing())
    assert rows == list(once.open_reader().invoices())
    assert (counts.invoices, counts.stuck) == (len(rows), sum(row.stuck_since_us is not None for row in rows))
