"""What is different between two runs, and what moved during one: by their baselines."""

from dataclasses import dataclass
from math import isnan
from typing import Any

from .stored_run import StoredRun

RELATIVE = 1e-5
"""Tolerance where a signal does not say how many of its decimals count."""


@dataclass(frozen=True)
class Difference:
    """One signal that is not the same.

    Attributes
    ----------
    signal
        Its name.
    one, other
        Its values; None where it was not recorded.
    unit
        Its unit, or an empty text.
    """

    signal: str
    one: Any
    other: Any
    unit: str

    @property
    def by(self) -> float:
        """The distance of two numbers, else NaN."""
        numbers = _numbers(self.one, self.other)
        return numbers[1] - numbers[0] if numbers else float("nan")


def differences(one: StoredRun, other: StoredRun) -> list[Difference]:
    """Return what of the baseline was different at the beginning of two runs."""
    first, second = (run.baseline(configuration=True) for run in (one, other))
    found = []
    for signal in dict.fromkeys([*first, *second]):
        a, b = first.get(signal), second.get(signal)
        known = a or b
        assert known is not None
        values = (a.before if a else None, b.before if b else None)
        if not _same(*values, known.tolerance):
            found.append(Difference(signal, *values, known.unit))
    return found


def moved_during(run: StoredRun) -> list[Difference]:
    """Return what of the baseline was different after a run from what it was before."""
    return [
        Difference(signal, reading.before, reading.after, reading.unit)
        for signal, reading in run.baseline().items()
        if not _same(reading.before, reading.after, reading.tolerance)
    ]


def _numbers(one: Any, other: Any) -> tuple[float, float] | None:
    if isinstance(one, bool) or isinstance(other, bool):
        return None
    if isinstance(one, int | float) and isinstance(other, int | float):
        return float(one), float(other)
    return None


def _same(one: Any, other: Any, tolerance: float) -> bool:
    numbers = _numbers(one, other)
    if numbers is None:
        return bool(one == other)
    a, b = numbers
    if isnan(a) or isnan(b):
        return isnan(a) and isnan(b)
    allowed = RELATIVE * max(abs(a), abs(b)) if isnan(tolerance) else tolerance
    # A little more: half of a decimal is not a number that a computer has.
    return abs(a - b) <= allowed * (1 + 1e-9)


__all__ = ["Difference", "differences", "moved_during"]
