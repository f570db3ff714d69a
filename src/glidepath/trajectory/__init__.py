"""What the axis does over time, and whether it can: regions and the pre-flight report."""

from .preflight import Envelope, Preflight, PreflightError, preflight
from .region import Region

__all__ = ["Envelope", "Preflight", "PreflightError", "Region", "preflight"]
