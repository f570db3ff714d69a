"""What the axis does over time, and whether it can: regions, motions, the pre-flight report."""

from .companion import Companion
from .envelope import Envelope
from .kspace import KRegion, xas_regions
from .motion import Motion, Passage, Piece
from .preflight import preflight
from .region import Region
from .report import AxisReport, Preflight, PreflightError, RegionReport, Space, Timing
from .schedule import Stage, curve, schedule
from .specs import from_scanspec, motion_path, to_scanspec
from .trajectory import AnyRegion, Leg, Trajectory

__all__ = [
    "AnyRegion",
    "AxisReport",
    "Companion",
    "Envelope",
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
    "from_scanspec",
    "motion_path",
    "preflight",
    "schedule",
    "to_scanspec",
    "xas_regions",
]
