"""How dead letters look in a terminal: counts, lists, one with all its bytes. Not here: reading them."""

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from bems_streams.cli.dlq_json import place_text
from bems_streams.cli.screen import plain, time_text
from bems_streams.flows.dead_letters import DeadLetter, Letter, Overview
from bems_streams.flows.receipt import receipt_text
from bems_streams.flows.redrive.terms import Verdict
from bems_streams.ports import Headers

_HEX_WIDTH: Final = 32
WOULD: Final = {
    Verdict.STORED: "it would be handled: stored, or folded into its invoice",
    Verdict.DUPLICATE: "it would be counted as a duplicate: its event is there already",
    Verdict.STILL_FAILING: "it would fail again: today's code does not take it either",
    Verdict.ALREADY_HANDLED: "it would not be sent: it has been handled since",
    Verdict.GUARDED: "it would not be sent: it was redriven too often already (--max-redrives)",
    Verdict.UNSENDABLE: "it would not be sent: no agent could tell where it came from",
}


def print_overview(console: Console, found: Overview) -> None:
    """Counts, then the newest."""
    counts = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("agent", "stage", "code", "dead letters"):
        counts.add_column(heading, justify="right" if heading == "dead letters" else "left")
    for (agent, stage, code), number in sorted(found.counts.items(), key=lambda item: (item[0][0], -item[1])):
        counts.add_row(plain(agent), plain(stage), plain(code), f"{number:,}")
    console.print(counts)
    console.print(plain(f"{found.total:,} in all", "bold"))
    if found.newest:
        console.print()
        console.print(_letters(found.newest))
    if len(found.newest) < found.total:
        console.print(f"shown are the newest {len(found.newest):,}; --limit {found.total} shows all", style="dim")
    console.print("bems dlq show PLACE shows one with its bytes, bems dlq redrive --dry-run what sending would do")


def _letters(letters: Sequence[Letter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("failed", "place", "invoice", "code", "redrives"):
        table.add_column(heading, overflow="fold")
    table.add_column("reason", overflow="ellipsis", no_wrap=True, ratio=1)
    for letter in letters:
        redrives = str(letter.passage.redrives) if isinstance(letter, DeadLetter) else "-"
        table.add_row(
            time_text(letter.failed_us),
            plain(place_text(letter.at)),
            plain(letter.invoice_id),
            plain(letter.code),
            redrives,
            plain(letter.reason),
        )
    return table


def print_letter(console: Console, letter: Letter, outlook: str) -> None:
    """Everything there is to know, the bytes last."""
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(letter):
        facts.add_row(name, plain(value))
    for problem in letter.reason.split("; "):
        facts.add_row("problem", plain(problem))
    facts.add_row("redrive", plain(outlook, "bold"))
    console.print(facts)
    original = letter.record if isinstance(letter, DeadLetter) else letter.raw
    _print_headers(console, original.headers)
    _print_bytes(console, original.value)


def _facts(letter: Letter) -> list[tuple[str, str | None]]:
    known = [("place", place_text(letter.at)), ("agent", letter.agent), ("code", letter.code)]
    if not isinstance(letter, DeadLetter):
        return [*known, ("came in", time_text(letter.failed_us).plain), ("key", repr(letter.raw.key))]
    passage, record = letter.passage, letter.record
    return [
        *known,
        ("stage", letter.stage),
        ("invoice", letter.invoice_id),
        ("receipt", receipt_text(passage.cell, record.at)),
        ("trace id", letter.trace_id),
        ("accepted", time_text(record.accepted_us).plain),
        ("first failed", time_text(passage.first_failed_us).plain),
        ("failed", time_text(passage.failed_us).plain),
        ("attempts", f"{passage.attempts}, redriven {passage.redrives} times"),
        ("run", passage.run or None),
    ]


def _print_headers(console: Console, headers: Headers) -> None:
    console.print(plain(f"\noriginal headers: {len(headers)}", "bold"))
    for name, value in headers:
        console.print(plain(f"  {name}" if value is None else f"  {name}: {_printable(value)}"))


def _print_bytes(console: Console, value: bytes | None) -> None:
    """JSON with indents, other text as it is, anything else in hexadecimal: never cut."""
    console.print(plain(f"\noriginal bytes: {'none' if value is None else f'{len(value):,}'}", "bold"))
    if not value:
        return
    try:
        msgspec.json.decode(value)
        text = msgspec.json.format(value, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = _dump(value)
    for line in text.split("\n"):
        console.print(plain(line), soft_wrap=True)


def _printable(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex(" ")
    return text if text.isprintable() else value.hex(" ")


def _dump(value: bytes) -> str:
    """Text when all of it is, else offset, bytes and letters."""
    try:
        text = value.decode()
        if all(letter.isprintable() or letter in "\n\t" for letter in text):
            return text.replace("\t", "    ")
    except UnicodeDecodeError:
        text = ""
    rows = []
    for start in range(0, len(value), _HEX_WIDTH):
        part = value[start : start + _HEX_WIDTH]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{start:08x}  {part.hex(' '):<{3 * _HEX_WIDTH}} {letters}")
    return "\n".join(rows)
