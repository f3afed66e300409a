"""Blocks of documents that are generated: between a comment that says from what, and one that ends it.

    <!-- generated: bems capacity --rate 1000 --markdown -->
    …
    <!-- end of generated -->

A test keeps each equal to what it is generated from. Not here: what is generated (publish.py, the commands themselves).
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

BLOCK: Final = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end of generated -->)", re.DOTALL)
LIMIT_SECONDS: Final = 120.0


def rewritten(text: str, make: Callable[[Sequence[str]], str]) -> str:
    """The page with every block made anew from the words of its comment."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{make(shlex.split(block[2])).strip()}\n\n{block[3]}", text)


def output_of(words: Sequence[str]) -> str:
    """What a command of this repository prints: `bems …` or `python -m …`. CalledProcessError when it fails."""
    modules = {"bems": ["-m", "bems_streams"], "python": []}
    command = [sys.executable, *modules[words[0]], *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS).stdout
