"""Exact decimals as they come in JSON: what is accepted as one, and why another is not.

Not here: which fields hold one (event.py), sums or currencies (stores).
"""

import re
from decimal import Decimal
from typing import Any, Final

MAX_INTEGER_DIGITS: Final = 15
MAX_DECIMAL_PLACES: Final = 6
PATTERN: Final = rf"-?(?:0|[1-9][0-9]{{0,{MAX_INTEGER_DIGITS - 1}}})(?:\.[0-9]{{1,{MAX_DECIMAL_PLACES}}})?"

_plain: Final = re.compile(PATTERN, re.ASCII).fullmatch
_scientific: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?[eE][+-]?[0-9]{1,4}", re.ASCII).fullmatch
_TOO_MANY: Final = f"at most {MAX_INTEGER_DIGITS} digits before the decimal point and {MAX_DECIMAL_PLACES} after it"


def amount(text: str) -> str:
    """A JSON number, or the same inside a string, in plain digits: exact, and never with an exponent.

    ValueError says what to send instead. It is text because that is how states and stores keep it.
    """
    if _plain(text):
        return text
    if _scientific(text):
        expanded = format(Decimal(text), "f")
        if _plain(expanded):
            return expanded
        raise ValueError(_TOO_MANY)
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text, re.ASCII) and not re.match(r"-?0[0-9]", text):
        raise ValueError(_TOO_MANY)
    raise ValueError(f"must be a decimal such as 1234.56, got {_short(text)}")


def amount_hook(_: type, found: Any) -> str:
    """For msgspec: `amount` of what its decoder found when it leaves fractions as text. ValueError as above."""
    if type(found) is str:
        return found if _plain(found) else amount(found)
    if type(found) is int:
        if abs(found) < 10**MAX_INTEGER_DIGITS:
            return str(found)
        raise ValueError(_TOO_MANY)
    raise ValueError(f"must be a decimal such as 1234.56, got {_KINDS.get(type(found), 'something else')}")


_KINDS: Final[dict[type, str]] = {bool: "true or false", list: "an array", dict: "an object"}


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
