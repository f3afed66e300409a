"""Exact decimals as they come in JSON: what is accepted as one, and why another is not.

Not here: which fields hold one (event.py), sums or currencies (stores).
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

MAX_INTEGER_DIGITS: Final = 15
MAX_DECIMAL_PLACES: Final = 6
PATTERN: Final = rf"-?(?:0|[1-9][0-9]{{0,{MAX_INTEGER_DIGITS - 1}}})(?:\.[0-9]{{1,{MAX_DECIMAL_PLACES}}})?"

_plain: Final = re.compile(PATTERN, re.ASCII).fullmatch
_scientific: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?[eE][+-]?[0-9]{1,4}", re.ASCII).fullmatch
_TOO_MANY: Final = f"at most {MAX_INTEGER_DIGITS} digits before the decimal point and {MAX_DECIMAL_PLACES} after it"


class Amount(Decimal):
    """An exact decimal within the limits above. `str()` writes it in plain digits, never with an exponent."""

    __slots__ = ()


def amount(text: str) -> Amount:
    """Read a JSON number, or the same inside a string. ValueError says what to send instead."""
    if _plain(text):
        return Amount(text)
    if _scientific(text):
        expanded = format(Decimal(text), "f")
        if _plain(expanded):
            return Amount(expanded)
        raise ValueError(_TOO_MANY)
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII) and not re.match(r"-?0[0-9]", text):
        raise ValueError(_TOO_MANY)
    raise ValueError(f"must be a decimal such as 1234.56, got {_short(text)}")


def amount_hook(_: type, found: Any) -> Amount:
    """For msgspec: an Amount from what its decoder found when it reads fractions by `amount`, or not at all.

    ValueError as above.
    """
    if type(found) is str:
        return amount(found)
    if type(found) is Amount:
        return found
    if type(found) is int:
        if abs(found) < 10**MAX_INTEGER_DIGITS:
            return Amount(found)
        raise ValueError(_TOO_MANY)
    raise ValueError(f"must be a decimal such as 1234.56, got {_KINDS.get(type(found), 'something else')}")


recalled_amount: Final = lru_cache(maxsize=4096, typed=True)(amount_hook)
"""`amount_hook` with a memory: most amounts were met just before, often in the same event. Typed, as 1 is not true."""

_KINDS: Final[dict[type, str]] = {bool: "true or false", list: "an array", dict: "an object"}


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
