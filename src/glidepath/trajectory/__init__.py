"""What the axis does over time, and whether it can: regions, motions, the pre-flight report."""

from .companion import Companion
from .envelope import Envelope
from .kspace import KRegion, xas_regions
from .motion import Motion, Passage, Piece
from .preflight import Preflight, PreflightError, preflight
from .region import Region
from .trajectory import Leg, Trajectory

__all__ = [
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
    "Trajectory",
    "preflight",
    "xas_regions",
]
