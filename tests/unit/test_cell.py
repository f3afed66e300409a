"""How the processes of a cell on this machine are named, addressed and started."""

import sys
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Any

import pytest

from bems_streams.local.addresses import Addresses, not_ready, role_of
from bems_streams.local.cell import Cell, CellOptions
from bems_streams.local.kafka import EmbeddedKafka

NONE: Mapping[str, int | None] = MappingProxyType({})


class Started(EmbeddedKafka):
    """A cluster that is up, as far as its address goes."""

    @property
    def bootstrap(self) -> str:
        """Of nobody."""
        return "127.0.0.1:1"


def cell(tmp_path: Path, *roles: str, **options: Any) -> Cell:
    """One that is never started."""
    made = Cell(CellOptions(tmp_path, roles=roles, **options), lambda _: None)
    made.kafka = Started(tmp_path / "kafka")
    return made


@pytest.mark.parametrize(
    ("name", "role"), [("tracker", "tracker"), ("tracker-0", "tracker"), ("sink-12", "sink"), ("a-b", "a-b")]
)
def test_a_number_behind_a_name_is_not_part_of_the_role(name: str, role: str) -> None:
    """tracker-0 and tracker-1 are two trackers."""
    assert role_of(name) == role


def test_every_process_has_an_address_of_its_own() -> None:
    """However many there are of one role."""
    names = ["gateway-0", "gateway-1", "tracker-0", "tracker-1", "ledger"]

    addresses = Addresses.of(names, NONE)

    assert list(addresses.health) == names
    assert len(set(addresses.health.values())) == len(names)
    assert addresses.gateway == addresses.health["gateway-0"]
    assert addresses.of_roles("gateway") == [addresses.health["gateway-0"], addresses.health["gateway-1"]]


def test_what_a_cell_does_not_have_is_named() -> None:
    """Instead of an address at which nobody answers."""
    with pytest.raises(LookupError, match="no console"):
        _ = Addresses.of(["tracker"], NONE).console


def test_several_workers_of_an_agent_are_members_of_their_own(tmp_path: Path) -> None:
    """Each by its name, with a folder and a health port of its own; a single one is the first."""
    several = cell(tmp_path, "tracker-0", "tracker-1")
    single = cell(tmp_path, "tracker")

    commands = {name: several.spec(name).command for name in ("tracker-0", "tracker-1")}

    for name, command in commands.items():
        assert command[3:7] == ["worker", "tracker", "--instance", name]
        assert several.addresses.health[name].endswith(command[command.index("--health-port") + 1])
        assert several.state_of(name) == tmp_path / name
    assert single.spec("tracker").command[3:7] == ["worker", "tracker", "--instance", "tracker-0"]
    assert single.state_of("tracker") == tmp_path / "tracker-0"


def test_one_process_can_have_an_environment_of_its_own(tmp_path: Path) -> None:
    """On top of what all have; and all can run another program."""
    made = cell(
        tmp_path, "sink-0", "sink-1", "ledger",
        environment={"A": "all", "B": "all"}, environment_of={"sink-1": {"B": "one"}},
        store_url="memory:", program=("python", "broken.py"),
    )  # fmt: skip

    specs = [made.spec(name) for name in ("sink-0", "sink-1", "ledger")]

    assert [(spec.env["A"], spec.env["B"]) for spec in specs] == [("all", "all"), ("all", "one"), ("all", "all")]
    assert {spec.env["BEMS_STORE"] for spec in specs} == {"memory:"}
    assert all(list(spec.command[:2]) == ["python", "broken.py"] for spec in specs)
    assert specs[2].command[2:4] == ["ledger", "watch"]


def test_the_console_watches_the_workers_only(tmp_path: Path) -> None:
    """Every one of them; itself and the gateways it can do without."""
    made = cell(tmp_path, "gateway", "tracker-0", "sink-0", "sink-1", "console")

    command = made.spec("console").command

    watched = [command[place + 1] for place, part in enumerate(command) if part == "--watch"]
    assert watched == [made.addresses.health[name] for name in ("tracker-0", "sink-0", "sink-1")]


def test_an_unknown_role_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """With the roles that there are."""
    with pytest.raises(ValueError, match=r"no trucker-0.*tracker"):
        CellOptions(tmp_path, roles=["trucker-0"])


def test_by_default_the_product_itself_runs(tmp_path: Path) -> None:
    """The interpreter that runs this, and its module."""
    assert cell(tmp_path, "gateway").spec("gateway").command[:3] == [sys.executable, "-m", "bems_streams"]


class Probe(BaseHTTPRequestHandler):
    """Answers as its path's port number asks."""

    answer = (200, b"{}")

    def do_GET(self) -> None:
        """Any path."""
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, b"{}"), None),
        ((503, b'{"reason": "restoring"}'), "restoring"),
        ((503, b"{}"), "answers 503"),
        ((500, b"oops"), "answers 500"),
        ((500, b"[]"), "answers 500"),
    ],
)
def test_who_is_not_ready_says_why(answer: tuple[int, bytes], reason: str | None) -> None:
    """In its own words where it has some."""
    server = HTTPServer(("127.0.0.1", 0), type("One", (Probe,), {"answer": answer}))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        assert not_ready(f"http://127.0.0.1:{server.server_address[1]}") == reason
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_who_is_gone_does_not_answer() -> None:
    """A port where nobody listens is a reason, not an exception."""
    addresses = Addresses.of(["sink"], NONE)

    assert addresses.not_ready() == {"sink": "does not answer (ConnectError)"}


def test_a_process_beyond_those_laid_out_takes_a_free_port(tmp_path: Path) -> None:
    """One more worker can be started from the command of a role that the cell itself does not run."""
    command = cell(tmp_path, "sink").spec("tracker").command

    assert command[command.index("--health-port") + 1] == "0"
