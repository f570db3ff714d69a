"""What was planned for one flight: made once, by the pre-flight, and carried to the arming."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from glidepath.detectors import FrameSettings
from glidepath.flyers.motion.back_end import MotionPlan
from glidepath.flyers.triggers.trigger_source import TriggerPlan
from glidepath.trajectory import Leg


@dataclass(frozen=True)
class LegPlan:
    """One flight of a scan: a leg, or the part of it that a source of triggers can hold.

    Parameters
    ----------
    leg
        What is flown.
    expected_rows
        How many rows come of it.
    spare_rows
        How many of them may be missing, since nobody tells exposures when to begin: a row begins
        with one.
    motion
        What the back end has planned for it; None: it plans when it prepares.
    triggers
        What the source of triggers does meanwhile; None: nothing is triggered.
    frames
        What each triggered detector is told, by its name; the folder of the run is not known yet.
    """

    leg: Leg
    expected_rows: int
    spare_rows: int = 0
    motion: MotionPlan | None = None
    triggers: TriggerPlan | None = None
    frames: Mapping[str, FrameSettings] = field(default_factory=dict)


__all__ = ["LegPlan"]
