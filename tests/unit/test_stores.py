"""Which store a URL names."""

import sys
from pathlib import Path

import pytest

from bems_streams.adapters.memory import MemoryBackend
from bems_streams.adapters.sqlite import SqliteBackend
from bems_streams.adapters.stores import backend_of, open_reader, open_store
from bems_streams.ports import StoreBatch, StoreUnusableError
from tests.contract.rows import event


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose packages are installed."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(packages: Path, name: str, entry: str, code: str = "") -> None:
    """A package with one module of its name, that offers a store."""
    (packages / f"{name}.py").write_text(code)
    metadata = packages / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[bems.stores]\n{entry}\n")


BOXES = """
from bems_streams.adapters.memory import MemoryBackend

BOXES = {}

def box(rest):
    return BOXES.setdefault(rest, MemoryBackend())
"""


def test_a_package_may_bring_a_store(packages: Path) -> None:
    """Its scheme is the entry point's name; it is given what follows the colon."""
    install(packages, "boxes_for_test", "box = boxes_for_test:box", BOXES)
    try:
        open_store("box:left").write(StoreBatch(events=[event()]))

        assert open_reader("box:left").counts().stored == 1
        assert open_reader("box:right").counts().stored == 0
    finally:
        sys.modules.pop("boxes_for_test", None)


def test_a_package_cannot_take_the_place_of_a_store_of_ours(packages: Path) -> None:
    """`sqlite:` means the same everywhere."""
    install(packages, "imposter_for_test", "sqlite = imposter_for_test:box", BOXES)

    assert isinstance(backend_of("sqlite:///x"), SqliteBackend)
    assert isinstance(backend_of("memory:"), MemoryBackend)


@pytest.mark.parametrize("url", ["", "sqlite", "box", "postgres://there", "/var/store.sqlite3"])
def test_a_url_that_names_no_store_is_answered_with_those_there_are(packages: Path, url: str) -> None:
    """The ones that packages brought as well."""
    install(packages, "boxes_for_test", "box = boxes_for_test:box", BOXES)

    with pytest.raises(StoreUnusableError, match=r"a store URL begins with sqlite: or memory: or .*box:") as refused:
        backend_of(url)

    assert repr(url) in str(refused.value)


@pytest.mark.parametrize("target", ["missing_for_test:box", "broken_for_test:no_such_name"])
def test_a_store_that_cannot_be_loaded_says_where_from(packages: Path, target: str) -> None:
    """Half an installation must not look like a wrong URL."""
    install(packages, "broken_for_test", f"broken = {target}")
    try:
        with pytest.raises(StoreUnusableError, match=rf"broken: cannot be loaded from {target}: .*install its package"):
            backend_of("broken:")
    finally:
        sys.modules.pop("broken_for_test", None)


def test_a_scheme_of_two_packages_is_nobodys(packages: Path) -> None:
    """Which one is found first depends on the machine."""
    install(packages, "one_for_test", "twice = one_for_test:box", BOXES)
    install(packages, "two_for_test", "twice = two_for_test:box", BOXES)

    with pytest.raises(
        StoreUnusableError, match="twice: is the store of one_for_test:box, two_for_test:box: uninstall"
    ):
        backend_of("twice:")


@pytest.mark.parametrize("url", ["sqlite:", "sqlite:///", "sqlite:file", "memory:shared"])
def test_a_url_with_a_wrong_rest_says_what_to_write(url: str) -> None:
    """Before anything is opened."""
    with pytest.raises(StoreUnusableError, match=r"write (sqlite:///relative or sqlite:////absolute/path|memory:)"):
        backend_of(url)
