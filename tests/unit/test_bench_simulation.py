"""The cell on paper: queues with service times, and workers that die."""

from benchmarks.simulate_cell import Cell, Seen, Worker, rows, simulate

QUICK = Worker(batch_seconds=0.1, event_seconds=0.01, max_records=100)


def batches(worker: Worker, *arrivals: float) -> list[tuple[int, float]]:
    """To the millisecond."""
    return [(last, round(done, 3)) for last, done in worker.handle(arrivals)]


def test_a_batch_takes_all_that_waits_and_its_fixed_part() -> None:
    """The first alone; the two that came meanwhile together."""
    assert batches(QUICK, 1.0, 1.05, 1.1) == [(1, 1.11), (3, 1.23)]


def test_a_batch_has_a_limit() -> None:
    """What is beyond it waits for the next."""
    worker = Worker(0.1, 0.01, max_records=2)

    assert [last for last, _ in worker.handle([0.0, 0.0, 0.0])] == [2, 3]


def test_what_comes_to_a_dead_worker_waits_and_a_batch_cut_short_is_done_again() -> None:
    """The first event was in work when the worker died: it is done with those that came since."""
    worker = Worker(0.1, 0.01, 100, dead_from=1.05, dead_until=61.0)

    assert batches(worker, 1.0, 2.0, 70.0) == [(2, 61.12), (3, 70.11)]


def test_only_partitions_of_the_dead_wait() -> None:
    """One of two sinks is dead for ten seconds: rows of every second partition are late, the others are not."""
    dead = Worker(0.01, 0.0001, 100, dead_from=10.0, dead_until=20.0)
    healthy = Worker(0.01, 0.0001, 100)
    cell = Cell(100.0, 4, [healthy], [dead, healthy])

    seen = simulate(cell, 30.0, seed=1)

    late = [each for each in seen if each.row - each.arrived > 1]
    assert 0.4 < len(late) / sum(10 < each.arrived < 20 for each in seen) < 0.6
    assert all(9.9 < each.arrived < 20 for each in late)
    assert max(each.row for each in late) < 21
    assert all(each.state > each.row - 0.1 for each in seen)


def test_the_same_seed_gives_the_same_events() -> None:
    """And another seed gives others."""
    cell = Cell(50.0, 2, [QUICK], [QUICK])

    assert simulate(cell, 5.0, 1) == simulate(cell, 5.0, 1) != simulate(cell, 5.0, 2)


def test_the_table_tells_times_before_while_and_after_apart() -> None:
    """With the share that was visible within two seconds."""
    seen = [Seen(10.0, 10.1, 10.2), Seen(30.0, 80.0, 80.5), Seen(50.0, 50.5, 53.0), Seen(85.0, 85.1, 85.2)]

    table = list(rows(Cell(1.0, 1, [QUICK], [QUICK]), seen, 60.0))

    assert [list(row) for row in table] == [
        ["all is well", "row of the event", "0.10 s", "0.10 s", "0.10 s", "100.0 %"],
        ["all is well", "state of the invoice", "0.20 s", "0.20 s", "0.20 s", "100.0 %"],
        ["a tracker and a sink are dead for 60 s", "row of the event", "50.00 s", "50.00 s", "50.00 s", "50.0 %"],
        ["a tracker and a sink are dead for 60 s", "state of the invoice", "50.50 s", "50.50 s", "50.50 s", "0.0 %"],
        ["all is well again", "row of the event", "0.10 s", "0.10 s", "0.10 s", "100.0 %"],
        ["all is well again", "state of the invoice", "0.20 s", "0.20 s", "0.20 s", "100.0 %"],
    ]
