"""Exact sums, percentiles and time buckets, the same for every store that computes them in Python.

Not here: where rows come from.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Final

from bems_streams.ports import Visibility

SECOND_US: Final = 1_000_000
NO_CURRENCY: Final = ""
EXACT: Final = Context(prec=1000)  # sums never round
_CENTS: Final = Decimal("0.01")


Valued = tuple[str, Decimal]
"""(currency, amount): what one row adds to sums."""
NOTHING: Final[Valued] = (NO_CURRENCY, Decimal(0))


def valued(currency: str | None, amount: str | None) -> Valued:
    """What a row adds to sums: its currency and amount; NO_CURRENCY and zero unless it has both.

    ValueError when the amount is not a finite decimal: decoding refuses such events, so this is a defect.
    """
    if amount is None or not currency:
        return NOTHING
    try:
        value = Decimal(amount)
    except ArithmeticError as error:
        raise ValueError(f"invoice_amount {amount!r} is not a decimal") from error
    if not value.is_finite():
        raise ValueError(f"invoice_amount {amount!r} is not a finite decimal")
    return currency, value


def amount_text(amount: Decimal) -> str:
    """The one text of an amount: no exponent, at least two decimals, no further trailing zeros."""
    shortest = amount.normalize(EXACT)
    exponent = shortest.as_tuple().exponent
    if isinstance(exponent, int) and exponent > -2:
        shortest = shortest.quantize(_CENTS, context=EXACT)
    return format(shortest if shortest else abs(shortest), "f")


def visibility_of(delays_us: Sequence[int]) -> Visibility:
    """Nearest-rank percentiles of delays from acceptance to stored."""
    ordered = sorted(delays_us)
    return Visibility(len(ordered), _rank_ms(ordered, 50), _rank_ms(ordered, 99))


def _rank_ms(ordered: Sequence[int], percent: int) -> float | None:
    if not ordered:
        return None
    return ordered[-(-len(ordered) * percent // 100) - 1] / 1000


def bucket_start(moment_us: int, bucket_us: int) -> int:
    """Start of the bucket that holds the moment."""
    return moment_us - moment_us % bucket_us
