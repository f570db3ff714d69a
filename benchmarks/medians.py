"""Numbers of several repeats as one number that JSON can hold."""

from collections.abc import Iterable
from math import isfinite
from statistics import median as middle

__all__ = ["median", "shown"]


def median(values: Iterable[float | None], digits: int = 4) -> float | None:
    """Return the median of the finite values, rounded to significant digits; None without any."""
    known = [float(value) for value in values if value is not None and isfinite(value)]
    return float(f"{middle(known):.{digits}g}") if known else None


def shown(value: float | None, style: str = ".3g") -> str:
    """Return a number for a table; a dash where there is none."""
    return "-" if value is None else format(value, style)
