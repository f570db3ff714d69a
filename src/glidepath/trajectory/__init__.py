"""What the axis does over time, and whether it can: regions and the pre-flight report."""

from .preflight import Envelope, Preflight, PreflightError, preflight
from .region import Region
from .trajectory import Leg, Trajectory

__all__ = ["Envelope", "Leg", "Preflight", "PreflightError", "Region", "Trajectory", "preflight"]
