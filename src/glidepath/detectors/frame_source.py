"""What a detector offers to a triggered scan: armed with a handshake, read frame by frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from event_model import DataKey
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class TriggerMode(StrEnum):
    """What begins an exposure."""

    INTERNAL = "internal"
    """The detector's own clock."""
    EDGE = "edge"
    """A pulse begins it; the detector ends it."""
    LEVEL = "level"
    """It lasts as long as the pulse."""


@dataclass(frozen=True)
class FrameSettings:
    """What a detector is told before a scan.

    Parameters
    ----------
    number
        Frames to expect; 0: until it is disarmed.
    exposure
        Length of the exposure of each frame in s.
    period
        Seconds from one trigger to the next; by its own clock from one frame to the next.
    mode
        What begins an exposure.
    folder
        The run's folder, for detectors that write a file.
    frames
        Frames that each trigger makes, one after the other, each as soon as it can: for a
        detector that `MakesSeveralFrames`.
    end_trigger
        Whether one more trigger follows that begins nothing: for a detector that `EndsWithNext`.
    """

    number: int
    exposure: float
    period: float
    mode: TriggerMode
    folder: Path
    frames: int = 1
    end_trigger: bool = False


@dataclass(frozen=True)
class Frames:
    """Frames of one detector in the order in which they were made.

    Attributes
    ----------
    numbers
        Shape (n,), int64: the detector's own counter, 0 for the first frame after arming. A
        frame that the detector made and that was dropped on the way leaves a gap; a trigger that
        it did not see does not.
    begins, ends
        Shape (n,): begin and end of the exposure on the clock of the detector's server, POSIX s.
    values
        Name of a column -> shape (n,), float64; NaN where a value is not known.
    """

    numbers: NDArray[np.int64]
    begins: Floats
    ends: Floats
    values: Mapping[str, Floats]


def no_frames(columns: Mapping[str, str]) -> Frames:
    """Return none, for a detector with these columns."""
    nothing = np.empty(0)
    return Frames(np.empty(0, np.int64), nothing, nothing, dict.fromkeys(columns, nothing))


@dataclass(frozen=True)
class FrameFile:
    """The file with a detector's images, which somebody else writes.

    Attributes
    ----------
    path, dataset
        Where: an HDF5 file and the path of the dataset in it, first axis: frames in order of
        arrival.
    data_key
        Description of one frame for the documents (shape, dtype, dtype_numpy, source).
    """

    path: Path
    dataset: str
    data_key: DataKey


@runtime_checkable
class FrameSource(Protocol):
    """A detector whose exposures are triggered, one frame for each trigger.

    The order is `check_frames`, `arm`, then `frames` again and again, `disarm`, `restore`;
    `disarm` and `restore` may come at any time, and twice.

    A class that inherits from it is triggered by edges, needs no more than its dead time between
    two exposures, drops nothing and writes no file, unless it says otherwise.
    """

    @property
    def name(self) -> str:
        """Name of the device; its columns begin with it."""
        ...

    def columns(self) -> Mapping[str, str]:
        """Return the columns that each frame fills: name -> unit."""
        ...

    async def trigger_modes(self) -> frozenset[TriggerMode]:
        """Return what can begin an exposure."""
        return frozenset({TriggerMode.EDGE})

    async def dead_time(self) -> float:
        """Return the seconds that it needs between two exposures, as it is set up now."""
        ...

    async def check_frames(self, settings: FrameSettings) -> None:
        """Refuse (ValueError, one sentence) what cannot be done. Nothing is changed."""
        # Only here: it knows this class.
        from .limits import check_timing

        await check_timing(self, settings)

    async def arm(self, settings: FrameSettings) -> None:
        """Set it up; return when it has said itself that it is ready for the first trigger.

        Raises
        ------
        TimeoutError
            If it does not get ready; the text says what it shows.
        """
        ...

    async def frames(self) -> Frames:
        """Return the frames that came since the last call, as far as they can be read."""
        ...

    async def dropped(self) -> int:
        """Return how many frames it, or its file writer, says that it has dropped since arming."""
        return 0

    def file(self) -> FrameFile | None:
        """Return the file with the images, once it is armed; None if there are none."""
        return None

    async def disarm(self) -> None:
        """End the acquisition, close the file; return when it stands."""
        ...

    async def restore(self) -> None:
        """Put back the settings that `arm` changed."""
        ...


@runtime_checkable
class EndsWithNext(Protocol):
    """A triggered detector whose exposures last until the next trigger, whatever is asked for.

    For it a trigger box makes one trigger behind the last row, if it can.
    """

    @property
    def ends_with_next(self) -> bool:
        """Whether that is so."""
        ...


@runtime_checkable
class MakesSeveralFrames(Protocol):
    """A triggered detector that can make several frames for each trigger, one after the other."""

    @property
    def frames_per_row(self) -> int:
        """How many frames a row has; 1: as any other detector."""
        ...

    def of_rows(self, values: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return what the frames of a row are together.

        Parameters
        ----------
        values
            Column -> shape (m, n): of the n frames of m rows; NaN where there is none.

        Returns
        -------
        Mapping
            Column -> shape (m,): of the frames that are there; NaN where there are none.
        """
        ...


@runtime_checkable
class MakesRemarks(Protocol):
    """A triggered detector that may have to say how well its frames can be followed."""

    def remarks(self) -> list[str]:
        """Return sentences without a full stop, once it was armed; empty if all is well."""
        ...


__all__ = [
    "EndsWithNext",
    "FrameFile",
    "FrameSettings",
    "FrameSource",
    "Frames",
    "MakesRemarks",
    "MakesSeveralFrames",
    "TriggerMode",
    "no_frames",
]
