"""What the axis does over time, and whether it can: regions, motions, the pre-flight report.

To and from scanspec: :mod:`glidepath.trajectory.specs`, which imports scanspec.
"""

from .companion import Companion
from .envelope import Envelope
from .kspace import KRegion, xas_regions
from .motion import Motion, Passage, Piece
from .preflight import preflight, with_clocks
from .region import Region
from .report import AxisReport, Preflight, PreflightError, RegionReport, Space, Timing
from .schedule import Stage, curve, schedule
from .tracking import TRACKING_BOUND, GapPath, gap_path
from .trajectory import AnyRegion, Leg, Trajectory

__all__ = [
    "TRACKING_BOUND",
    "AnyRegion",
    "AxisReport",
    "Companion",
    "Envelope",
    "GapPath",
    "KRegion",
    "Leg",
    "Motion",
    "Passage",
    "Piece",
    "Preflight",
    "PreflightError",
    "Region",
    "RegionReport",
    "Space",
    "Stage",
    "Timing",
    "Trajectory",
    "curve",
    "gap_path",
    "preflight",
    "schedule",
    "with_clocks",
    "xas_regions",
]
