"""Whether as many rows were recorded as were planned: fewer are said, far fewer are a failure."""

from collections.abc import Mapping
from dataclasses import dataclass

ENOUGH = 0.95
"""Share of the planned rows below which a scan has failed."""


@dataclass(frozen=True)
class RowCount:
    """Planned and recorded rows of a scan.

    Parameters
    ----------
    planned
        Rows of all flights, as the pre-flight counted them.
    recorded
        Rows in ``primary``.
    spare
        Rows that may be missing at the ends of flights: where a row begins with an exposure that
        nobody triggers, or where a flight was interrupted.
    with_frames
        Triggered detector -> rows of which it has a frame.

    Examples
    --------
    >>> RowCount(40, 39, spare=1).sentence()
    ''
    >>> RowCount(59, 30).sentence()
    '30 of 59 rows were recorded'
    >>> RowCount(59, 30).failed
    True
    >>> RowCount(100, 100, with_frames={"camera": 98}).sentence()
    'camera has frames in 98 of 100 rows'
    """

    planned: int
    recorded: int
    spare: int = 0
    with_frames: Mapping[str, int] | None = None

    @property
    def _wanted(self) -> int:
        return max(self.planned - self.spare, 1)

    @property
    def failed(self) -> bool:
        """Whether so many are missing that the scan is none."""
        counts = [self.recorded, *(self.with_frames or {}).values()]
        return any(count < ENOUGH * self._wanted for count in counts)

    def sentence(self) -> str:
        """Return what is missing, without a full stop; empty if nothing is."""
        if self.recorded < self._wanted:
            missing = [f"{self.recorded} of {self.planned} rows were recorded"]
        else:
            missing = []
        missing += [
            f"{name} has frames in {count} of {self.planned} rows"
            for name, count in (self.with_frames or {}).items()
            if count < min(self._wanted, self.recorded)
        ]
        return "; ".join(missing)


__all__ = ["ENOUGH", "RowCount"]
