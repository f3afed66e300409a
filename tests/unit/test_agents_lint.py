"""Agents are loops of one shape, because Faust's own ways to iterate acknowledge what failed or was cancelled."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import agents

FOLDER: Final = Path(agents.__file__).parent
COMPOSITION_ROOT: Final = "worker.py"
MAX_LINES: Final = 40
STREAM_METHODS: Final = frozenset({"take", "noack_take", "noack", "events", "items", "group_by", "echo", "through"})
"""Of Faust's streams: each acks by itself, or moves records past our bookkeeping."""


def files() -> list[Path]:
    """Every file of the package but its composition root, which has no loop (see the last test)."""
    return sorted(path for path in FOLDER.rglob("*.py") if path.name != COMPOSITION_ROOT)


def complaints(source: str) -> Iterator[str]:
    """What is wrong with one file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AsyncFor):
            yield from _complaints_about_loop(node)
        if isinstance(node, ast.comprehension) and node.is_async:
            yield f"line {node.iter.lineno}: an async comprehension cannot ack: loop over `coalesced`"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STREAM_METHODS:
            yield f"line {node.lineno}: `.{node.func.attr}()` of a stream acks by itself: loop over `coalesced`"
        if isinstance(node, ast.Call) and _name(node) in {"anext", "aiter"}:
            yield f"line {node.lineno}: `{_name(node)}` goes round the loop: loop over `coalesced`"
        if isinstance(node, ast.ExceptHandler):
            yield f"line {node.lineno}: an agent handles no errors: outcomes belong in a flow"


def _complaints_about_loop(loop: ast.AsyncFor) -> Iterator[str]:
    if not (isinstance(loop.iter, ast.Call) and _name(loop.iter) == "coalesced"):
        yield f"line {loop.lineno}: `async for` over something else than `coalesced(…)`"
    body = loop.body[0]
    guarded = (
        len(loop.body) == 1
        and not loop.orelse
        and isinstance(loop.target, ast.Name)
        and isinstance(body, ast.AsyncWith)
        and isinstance(body.items[0].context_expr, ast.Name)
        and body.items[0].context_expr.id == loop.target.id
    )
    if not guarded:
        yield f"line {loop.lineno}: all of the loop must be one `async with work:`"


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_agents_iterate_in_the_one_safe_way(path: Path) -> None:
    """`async for work in coalesced(…)`, and in it nothing but `async with work`."""
    assert list(complaints(path.read_text())) == []


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_agents_stay_small(path: Path) -> None:
    """What a batch means is a flow's business; what an agent is made of, the composition root's."""
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_every_agent_of_the_catalogue_has_its_loop() -> None:
    """The check above has something to check."""
    loops = [path.name for path in files() if "async for" in path.read_text()]

    assert loops == ["sink.py", "tracker.py"]


SAFE: Final = """
async def agent(stream):
    async for work in coalesced(app, stream, 10):
        async with work, ownership.hold(work):
            await deliver(flow, work.records)
"""


def test_the_safe_way_passes() -> None:
    """As the agents have it."""
    assert list(complaints(SAFE)) == []


@pytest.mark.parametrize(
    "source",
    [
        SAFE.replace("coalesced(app, stream, 10)", "stream"),
        SAFE.replace("coalesced(app, stream, 10)", "stream.take(100, within=1)"),
        SAFE.replace("coalesced(app, stream, 10)", "stream.noack().events()"),
        SAFE.replace("coalesced(app, stream, 10)", "others.coalesced(app, stream, 10)"),
        SAFE.replace("async with work, ownership.hold(work)", "async with ownership.hold(work)"),
        SAFE.replace("async with work, ownership.hold(work)", "async with ownership.hold(work), work"),
        SAFE.replace("async with work, ownership.hold(work)", "async with other"),
        SAFE + "        await deliver(flow, work.records)\n",
        SAFE.replace("        async with", "        await early(work)\n        async with"),
        SAFE.replace("        async with work, ownership.hold(work):\n    ", ""),
        "async def agent(stream):\n    return [event async for event in stream]\n",
        "async def agent(stream):\n    event = await anext(stream)\n",
        "async def agent(stream):\n    try:\n        await flow()\n    except Exception:\n        pass\n",
    ],
)
def test_any_other_way_fails(source: str) -> None:
    """The lint can fail: each of these loses events, or hides that it does."""
    assert list(complaints(source)) != []


def test_the_composition_root_has_no_loop() -> None:
    """It puts parts together; whatever reads a stream is an agent, and is checked above."""
    tree = ast.parse((FOLDER / COMPOSITION_ROOT).read_text())

    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFor | ast.AsyncFunctionDef)]
