"""Continuous energy scans for synchrotron beamlines, on ophyd-async and Bluesky."""

__version__ = "0.1.0"
__all__ = ["__version__"]
