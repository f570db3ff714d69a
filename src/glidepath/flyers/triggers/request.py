"""What is asked of a trigger box: the public face of triggered scans."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from glidepath.trajectory import PreflightError


@dataclass(frozen=True)
class Triggers:
    """Who triggers the detectors of a scan, and how often.

    Parameters
    ----------
    box
        What makes the triggers: a trigger box that has the axis's encoders, or a detector that
        goes by its own clock.
    step
        Distance from trigger to trigger, in the unit of the axis.
    period
        Time from trigger to trigger in s. One of step and period is given.
    exposure
        Length of an exposure in s. None: as long as the triggers and the detectors allow.

    Raises
    ------
    PreflightError
        If not exactly one of step and period is given, or a number is not above zero.

    Examples
    --------
    ::

        RE(flyscan([camera], energy, 395, 405, 1.0, triggers=Triggers(zebra, step=0.05)))
    """

    box: Any
    step: float | None = field(default=None, kw_only=True)
    period: float | None = field(default=None, kw_only=True)
    exposure: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.step is None) == (self.period is None):
            raise PreflightError(
                f"Triggers of {self._box_name} come either each step (units of the axis) or each "
                f"period (s), but {'neither was' if self.step is None else 'both were'} given; "
                "give one of them."
            )
        for what, value in self._numbers().items():
            if not _is_positive(value):
                raise PreflightError(
                    f"Triggers of {self._box_name} cannot have the {what} {value!r}; give a "
                    "number above zero."
                )

    @property
    def _box_name(self) -> str:
        return str(getattr(self.box, "name", "") or self.box)

    def _numbers(self) -> Mapping[str, Any]:
        """Return what was given, by name."""
        numbers = {"step": self.step, "period": self.period, "exposure": self.exposure}
        return {what: value for what, value in numbers.items() if value is not None}

    def __repr__(self) -> str:
        given = "".join(f", {what}={value!r}" for what, value in self._numbers().items())
        return f"Triggers({self._box_name}{given})"


def _is_positive(value: Any) -> bool:
    try:
        return not isinstance(value, bool | str) and isfinite(value) and value > 0
    except (TypeError, ValueError, OverflowError):
        return False


__all__ = ["Triggers"]
