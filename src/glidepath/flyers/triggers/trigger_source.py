"""What makes the triggers of a scan: a box that compares positions, or a clock."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glidepath.trajectory import Leg

from .request import Triggers

Floats = NDArray[np.float64]


class TriggerError(RuntimeError):
    """A source of triggers did not do what it was told; the text says what it shows instead."""


@dataclass(frozen=True)
class TriggerPlan:
    """What a source will do during one leg, or one part of it.

    Attributes
    ----------
    leg
        The part of the leg that is flown with it.
    positions
        Shape (n,): where the axis will be when the exposures begin, in its unit; computed from
        what the source can do (steps of whole counts), not from what was asked.
    exposure
        Length of an exposure in s.
    shortest_period
        Smallest time in s between two triggers at the leg's velocity.
    end_trigger
        Whether one more trigger follows that begins no row; see `TriggerSource.plan`.
    step_edges
        Shape (n + 1,): where the steps begin in which the exposures lie, and the last one ends. A
        flight that was interrupted goes on at one of them. None if triggers come by time.
    """

    leg: Leg
    positions: Floats
    exposure: float
    shortest_period: float
    end_trigger: bool = field(default=False, kw_only=True)
    step_edges: Floats | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class CapturedTriggers:
    """Triggers that a source has made, in order.

    Attributes
    ----------
    numbers
        Shape (n,), int64: index into the plan's positions, 0 for the first of the leg. A trigger
        that was not made leaves a gap; one too many has the number of the one before it.
    times
        Shape (n,): begin of the exposure on the clock of the source, s. Where that clock begins
        is not known; see `clock`.
    positions
        Shape (n,): position of the axis at that moment, computed from the encoders that were
        latched, in the axis's unit. NaN where the source latches none.
    ends, end_positions, means
        Shape (n,): end of the exposure, the position then, and the mean of the position over it,
        in the same units. None where the source does not measure them.
    """

    numbers: NDArray[np.int64]
    times: Floats
    positions: Floats
    ends: Floats | None = None
    end_positions: Floats | None = None
    means: Floats | None = None


class TriggerSource(ABC):
    """Triggers the detectors during one leg, and latches where the axis was.

    The order is `plan`, then for each part `arm`, then `captured` again and again, `disarm`,
    `captured` once more for the rest, and at the end of the scan `restore`. `arm` comes when the
    axis stands at the run-up of the part. `disarm` and `restore` may come at any time, and twice.
    """

    name: str

    recovery: float = 0.0
    """Seconds that it needs between the end of an exposure and the next."""

    @abstractmethod
    async def plan(
        self, leg: Leg, request: Triggers, *, dead_time: float = 0.0, end_trigger: bool = False
    ) -> Sequence[TriggerPlan]:
        """Return what it will do during a leg. Nothing is changed.

        Parameters
        ----------
        leg
            What is flown.
        request
            What was asked: a trigger each step or each period, and the exposure. Without one, the
            exposure is the longest that fits; see `with_exposure`.
        dead_time
            Seconds that the detectors need between two exposures.
        end_trigger
            Whether somebody's exposures last until the next trigger. Then a source that can do so
            makes one trigger behind the last row, inside the leg; its number is the number of rows.

        Returns
        -------
        sequence of TriggerPlan
            One for each part into which the leg must be cut, because the source holds no more
            triggers at a time. The next part begins where the trigger after the last one of a part
            would have been made: flown one after the other, each with a run-up of its own, they
            miss none and repeat none.

        Raises
        ------
        PreflightError
            If it cannot; one sentence.
        """

    def use_folder(self, folder: Path) -> None:
        """Take note of the run's folder, before `arm`: some sources make files."""
        return

    @abstractmethod
    async def arm(self, plan: TriggerPlan) -> None:
        """Set it up for one part of a leg; return when it has confirmed that it is armed.

        Raises
        ------
        TimeoutError
            If it does not confirm it; the text says what it shows.
        TriggerError
            If what it sees of the axis is not what the control system says.
        """

    @abstractmethod
    async def captured(self) -> CapturedTriggers:
        """Return the triggers made since the last call, as far as they can be read.

        After `disarm`, wait for the rest, as long as it comes.
        """

    @abstractmethod
    async def clock(self) -> tuple[float, float]:
        """Return the POSIX time (s) at which its clock was zero, and how well that is known (s)."""

    async def complaint(self) -> str | None:
        """Return in a sentence what the source itself says went wrong since it was armed."""
        return None

    @abstractmethod
    async def disarm(self) -> None:
        """Make no more triggers; return when it has confirmed that."""

    @abstractmethod
    async def restore(self) -> None:
        """Put back the settings that `arm` changed."""


__all__ = ["CapturedTriggers", "TriggerError", "TriggerPlan", "TriggerSource"]
