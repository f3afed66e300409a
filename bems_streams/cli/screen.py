"""Values as people read them in a terminal: times, amounts, and text from outside made harmless.

Not here: tables of a command.
"""

import sys
from decimal import Decimal

from rich.console import Console
from rich.text import Text

from bems_streams.domain.event import instant

_UNTERMINAL_WIDTH = 200  # into a file or a pipe, lines are not folded at 80 columns


def screen() -> Console:
    """Standard output."""
    return Console(width=None if sys.stdout.isatty() else _UNTERMINAL_WIDTH, highlight=False)


def plain(value: str | None, style: str = "") -> Text:
    """Text from outside: no markup is obeyed, and no control character reaches the terminal."""
    if value is None:
        return Text("-", style="dim")
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value), style)


def time_text(moment_us: int | None) -> Text:
    """UTC to the second."""
    return Text("-", style="dim") if moment_us is None else Text(f"{instant(moment_us):%Y-%m-%d %H:%M:%S}Z")


def money(amount: str | None, currency: str | None) -> Text:
    """With thousands separated, exact."""
    return plain(None) if amount is None else plain(f"{Decimal(amount):,f} {currency or ''}".strip())
