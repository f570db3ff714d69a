"""What a flight goes through: ranges of the axis, each in one direction with rows of one length."""

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class Span:
    """A range that the axis flies through once, in one direction, with rows of one length.

    Parameters
    ----------
    start, stop
        Ends of the range in the axis's unit; ``stop`` may be below ``start``.
    period
        Length of a row in s; None: that of the scan.
    region, pass_number
        What it belongs to, for its rows.

    Raises
    ------
    ValueError
        If the range is empty or the period not above zero.
    """

    start: float
    stop: float
    period: float | None = None
    region: int = 1
    pass_number: int = 1

    def __post_init__(self) -> None:
        if not (isfinite(self.start) and isfinite(self.stop) and self.start != self.stop):
            raise ValueError(
                f"A range from {self.start!r} to {self.stop!r} has no rows; "
                "give two different finite numbers."
            )
        if self.period is not None:
            check_period(self.period)

    @property
    def sign(self) -> float:
        """1 for up, -1 for down."""
        return 1.0 if self.stop > self.start else -1.0


def check_period(period: float) -> None:
    """Refuse (ValueError) a length of rows in s that is not above zero."""
    if not (isfinite(period) and period > 0):
        raise ValueError(f"A row cannot last {period!r} s; give a period above zero.")


__all__ = ["Span", "check_period"]
