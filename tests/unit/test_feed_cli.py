"""`bems feed` and `bems simulate` as a user meets them: real HTTP, real files, exit codes and words."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bems_streams.cli.main import main
from bems_streams.domain.event import Event, parse_event
from tests.unit.fake_gateway import FakeGateway, Reply, Request, everyday


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with FakeGateway() as fake:
        yield fake


def bems(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def line(number: int, more: str = "") -> bytes:
    return f'{{"stage": "ingestion", "invoice_id":"i{number % 5}",  "n":{number}{more}}}'.encode()


def loads(path: Path) -> Any:
    return json.loads(path.read_text())


def by_domain_rules(request: Request) -> Reply:
    """Judges events as the real gateway does."""
    reply = everyday(request)
    for item, raw in zip(reply.body.get("items", ()), request.raws, strict=False):
        if not isinstance(parse_event(raw), Event):
            item.update(status=400, problems=[{"path": "#/0", "message": "no event"}])
    return Reply(reply.status if request.bare else 207, reply.body, reply.headers)


def test_a_file_goes_through_byte_for_byte(gateway: FakeGateway, tmp_path: Path) -> None:
    """Accepted events are counted, the summary is written, the exit code is 0."""
    lines = [line(n) for n in range(1_234)]
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    result = bems("feed", path, "--url", gateway.url, "--json", tmp_path / "summary.json")
    assert result.exit_code == 0, result.output
    assert sorted(gateway.raws) == sorted(lines)
    assert "1,234 of 1,234 events accepted" in result.stdout
    summary = loads(tmp_path / "summary.json")
    assert (summary["offered"], summary["accepted"], summary["stopped"]) == (1_234, 1_234, None)
    assert summary["stages"] == {"ingestion": {"accepted": 1_234, "rejected": 0, "gave_up": 0}}


def test_rejected_lines_are_shown_by_number_and_all_of_them_written(gateway: FakeGateway, tmp_path: Path) -> None:
    """The gateway's verdicts and unreadable lines end in one file, from which they can be corrected and fed again."""
    lines = [line(n, ',"bad":1' if n % 4 == 0 else "") for n in range(40)]
    lines[7] = b"\xff no json"
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(lines))
    rejects = tmp_path / "rejects.jsonl"
    result = bems("feed", path, "--url", gateway.url, "--rejects", rejects, "--show", 3)
    assert result.exit_code == 0, result.output
    assert "29 of 40 events accepted" in result.stdout
    assert "first 3 of 11 refused events" in result.stdout
    written = [json.loads(text) for text in rejects.read_text().splitlines()]
    assert {entry["line"] for entry in written} == {8} | {n + 1 for n in range(0, 40, 4)}
    first = next(entry for entry in written if entry["line"] == 5)
    assert first["problems"] == [{"path": "bad", "message": "unknown field"}]
    assert first["event"].encode() == lines[4]
    assert next(entry for entry in written if entry["line"] == 8)["event_base64"]


def test_giving_up_is_a_failure_with_what_to_do_next(tmp_path: Path) -> None:
    """No gateway: exit code 1, the number of events given up, and how to go on."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(line(n) for n in range(10)))
    with socket.socket() as probe:  # bound, but not listening
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        result = bems("feed", path, "--url", url, "--give-up-after", "0.2", "--json", tmp_path / "summary.json")
    assert result.exit_code == 1
    assert "gave up on 10 events" in result.stderr
    assert "Feed it again" in result.stderr
    assert loads(tmp_path / "summary.json")["gave_up"] == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("feed", "no-such-file"), "does not exist"),
        (("feed", "{file}", "--url", "127.0.0.1:8080"), "no address of a gateway"),
        (("feed", "{file}", "--rejects", "{missing}/rejects"), "name a file that can be written"),
        (("feed", "{file}", "--batch", "1001"), "1<=x<=1000"),
        (("simulate", "--events", "9", "--invoices", "9"), "exclude each other"),
        (("simulate", "--rate", "9", "--compress", "9"), "exclude each other"),
        (("simulate", "--poison", "9"), "--bootstrap"),
        (("simulate", "--currency", "XXX"), "EUR"),
    ],
)
def test_wrong_options_are_told_in_words(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """Never a traceback."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(line(1))
    result = bems(*(text.format(file=file, missing=tmp_path / "missing") for text in arguments))
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_simulation_is_accepted_save_for_its_mistakes(gateway: FakeGateway, tmp_path: Path) -> None:
    """What the summary and its ground truth say is what reached the gateway."""
    gateway.policy = by_domain_rules
    result = bems(
        *("simulate", "--invoices", 60, "--rate", 0, "--invalid", "0.05", "--seed", 3, "--url", gateway.url),
        *("--json", tmp_path / "summary.json", "--rejects", tmp_path / "rejects.jsonl"),
    )
    assert result.exit_code == 0, result.output
    summary = loads(tmp_path / "summary.json")
    truth, kinds = summary["ground_truth"], summary["kinds"]
    events = [event for raw in gateway.raws if isinstance(event := parse_event(raw), Event)]
    assert truth["valid"] == len({(event.invoice_id, event.event_id) for event in events})
    assert summary["accepted"] == truth["valid"] + truth["duplicates"] == len(events)
    assert summary["rejected"] == truth["invalid"] == kinds["invalid"]["rejected"] > 10
    assert sum(kind["offered"] for kind in kinds.values()) == summary["offered"]
    assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == truth["invalid"]
    assert {json.loads(text)["kind"] for text in (tmp_path / "rejects.jsonl").read_text().splitlines()} == {"invalid"}


def test_by_default_the_simulated_month_ends_now(gateway: FakeGateway, tmp_path: Path) -> None:
    """Nothing lies in the future, and the newest events are fresh."""
    before_us = time.time() * 1e6
    result = bems("simulate", "--events", 500, "--rate", 0, "--url", gateway.url, "--json", tmp_path / "summary.json")
    assert result.exit_code == 0, result.output
    occurred = [event.occurred_us for raw in gateway.raws if isinstance(event := parse_event(raw), Event)]
    month_us = 30 * 86_400e6
    assert before_us - month_us <= min(occurred) < max(occurred) < time.time() * 1e6 + 1e6
    assert max(occurred) > before_us - 0.2 * month_us
    assert loads(tmp_path / "summary.json")["offered"] <= 500


def test_simulated_time_is_compressed(gateway: FakeGateway) -> None:
    """A month at a million times its pace takes its two and a half seconds, and events come on the way."""
    started = time.monotonic()
    result = bems("simulate", "--invoices", 20, "--compress", 1_000_000, "--url", gateway.url, "--show", 0)
    assert result.exit_code == 0, result.output
    assert 1.5 < time.monotonic() - started < 20
    assert len(gateway.requests) > 10


def eventually(condition: Callable[[], bool]) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_feeding_a_pipe(gateway: FakeGateway) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "bems_streams", "feed", "-", "--url", gateway.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_standard_input_is_fed_as_it_comes(gateway: FakeGateway) -> None:
    """A pipe that pauses has its events sent meanwhile; its end is the end of the feed."""
    with start_feeding_a_pipe(gateway) as process:
        assert process.stdin is not None
        process.stdin.write(line(1) + b"\n" + line(2)[:9])
        process.stdin.flush()
        eventually(lambda: gateway.raws == [line(1)])
        out, error = process.communicate(line(2)[9:] + b"\n", timeout=30)
    assert process.returncode == 0, error
    assert gateway.raws == [line(1), line(2)]
    assert b"2 of 2 events accepted" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_feed_with_its_summary(gateway: FakeGateway, number: signal.Signals) -> None:
    """Ctrl-C on a pipe that never ends: what was read is settled, then it says how to go on."""
    with start_feeding_a_pipe(gateway) as process:
        assert process.stdin is not None
        process.stdin.write(line(1) + b"\n")
        process.stdin.flush()
        eventually(lambda: gateway.raws == [line(1)])
        process.send_signal(number)
        process.wait(timeout=30)
        assert process.stdout is not None
        assert process.stderr is not None
        out, error = process.stdout.read(), process.stderr.read()
    assert process.returncode == 1
    assert b"1 of 1 events accepted" in out
    assert b"stopped on request" in error
