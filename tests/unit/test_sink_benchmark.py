"""The benchmark of the sink compares like with like, and leaves no store out."""

from contextlib import closing
from pathlib import Path

import pytest

from bems_streams.adapters.stores import STORES, open_reader
from benchmarks.sink_rows import RowStream
from benchmarks.sink_scenes import BARE, OURS, Pair, Scene
from benchmarks.sink_store import NOT_DURABLE, SUBJECTS, unmeasured


def test_every_durable_store_is_measured() -> None:
    """A store that joins the product joins the benchmark: say in SUBJECTS what its bare upsert is."""
    assert SUBJECTS.keys() == STORES.keys() - NOT_DURABLE
    assert not [name for name, why in unmeasured().items() if why != "not in the product yet"]


@pytest.mark.parametrize("store", sorted(SUBJECTS))
def test_both_ways_store_the_same_rows(store: str, tmp_path: Path) -> None:
    """The bare upsert is the same work without ledger and sums; only ours knows of duplicates."""
    stream = RowStream(seed=7, partitions=3)
    pair = Pair(SUBJECTS[store], tmp_path, stream)
    pair.fill(200, lambda rows: None)
    runs = [pair.measure(scene.batches(stream, 100)) for scene in (Scene(50, copies=0.2), Scene(25, statuses=True))]
    pair.close()

    held = {}
    for way, folder in pair.folders.items():
        with closing(open_reader(SUBJECTS[store].url(folder))) as reader:
            held[way] = list(reader.events()), list(reader.invoices())
            counts = reader.counts()
            assert (counts.stored + counts.duplicates == 300) == (way == OURS)
            assert reader.rows_outside_ledger("sink") == [] or way == BARE
    assert held[BARE] == held[OURS]
    assert all(run.events == 100 and run.cpu_seconds > 0 for found in runs for run in found.values())
