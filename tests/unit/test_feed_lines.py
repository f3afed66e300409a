"""Reading events from files: the bytes of each line, in order, whatever the file looks like."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from bems_streams.local.feed_lines import LONGEST_LINE_BYTES, LineFile
from bems_streams.local.feed_types import Offer, Refusal, SourceError


def line(number: int) -> bytes:
    return f'{{"stage": "posting",  "n":{number}}}'.encode()


async def read(path: Path) -> list[Offer | Refusal]:
    with LineFile(str(path)) as lines:
        found = [offer async for offer in lines.offers()]
        assert lines.read_bytes == lines.size_bytes
    return found


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", ["ended", "open"])
@pytest.mark.parametrize("packed", ["plain", "gzip", "two gzip members"])
async def test_lines_come_as_they_are(tmp_path: Path, ending: bytes, last: str, packed: str) -> None:
    """Line ends, a missing last one, and compression make no difference."""
    # given
    lines = [line(n) for n in range(20_000)]
    data = ending.join(lines) + (ending if last == "ended" else b"")
    half = len(data) // 2 + 7
    path = tmp_path / "events"
    path.write_bytes(
        {
            "plain": data,
            "gzip": gzip.compress(data, 1),
            "two gzip members": gzip.compress(data[:half], 1) + gzip.compress(data[half:], 1),
        }[packed]
    )
    # when
    found = await read(path)
    # then
    assert found == [Offer("posting", raw, number) for number, raw in enumerate(lines, start=1)]


async def test_lines_that_cannot_be_sent_are_refused_by_number_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Not JSON, no object, no stage: each is named with its line number; empty lines are nothing at all."""
    bad = [b"nonsense", b'["stage"]', b'{"n":1}', b'{"stage":7}', b'{"stage":""}', b'{"stage":".."}', b'{"stage":"a"']
    path = tmp_path / "events"
    path.write_bytes(b"\n".join([line(1), b"", b"  \r", *bad, line(2)]))
    found = await read(path)
    refusals = [refusal for refusal in found if isinstance(refusal, Refusal)]
    assert [refusal.tag for refusal in refusals] == [4, 5, 6, 7, 8, 9, 10]
    assert [refusal.raw for refusal in refusals] == bad
    assert all(refusal.reason for refusal in refusals)
    assert [offer for offer in found if isinstance(offer, Offer)] == [
        Offer("posting", line(1), 1),
        Offer("posting", line(2), 11),
    ]


async def test_an_endless_line_is_refused_without_holding_it(tmp_path: Path) -> None:
    """A file without line ends needs a few megabytes, not its own size; what follows is read."""
    path = tmp_path / "events.gz"
    with gzip.open(path, "wb", 1) as packed:
        for _ in range(40):
            packed.write(b"x" * LONGEST_LINE_BYTES)
        packed.write(b"\n" + line(2))
    tracemalloc.start()
    found = await read(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 12 * LONGEST_LINE_BYTES
    assert [offer.tag for offer in found] == [1, 2]
    assert isinstance(found[0], Refusal)
    assert "longer than" in found[0].reason
    assert found[1] == Offer("posting", line(2), 2)


@pytest.mark.parametrize("damage", ["cut short", "flipped"])
async def test_a_damaged_gzip_file_gives_its_whole_lines_and_then_says_where_it_broke_off(
    tmp_path: Path, damage: str
) -> None:
    """Half a line is never offered; the error names the last whole one and what to do."""
    data = bytearray(gzip.compress(b"\n".join(line(n) for n in range(50_000)), 1))
    if damage == "cut short":
        del data[len(data) // 2 :]
    else:
        data[-6] ^= 0xFF  # the checksum
    path = tmp_path / "events.gz"
    path.write_bytes(bytes(data))
    found = []
    with LineFile(str(path)) as lines, pytest.raises(SourceError, match="last whole one") as raised:
        async for offer in lines.offers():
            found.append(offer)  # noqa: PERF401 - what came before the error is wanted
    assert found == [Offer("posting", line(n), n + 1) for n in range(len(found))]
    assert len(found) > 10_000
    assert f"line {len(found)} " in str(raised.value)
