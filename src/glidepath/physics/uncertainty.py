"""Numbers and their standard errors, as they are printed."""

import math

__all__ = ["with_error"]


def with_error(value: float, error: float) -> str:
    """Return a value with its error, with two digits of the error: ``400.8812 ± 0.0013``."""
    if not math.isfinite(error) or error <= 0:
        return f"{value:.6g} (error unknown)"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"
