"""Detectors that are triggered or stream by themselves: cameras, fast electrometers, counters.

Detectors that run freely and are sampled (electrometers) are in `glidepath.devices`.
"""

from .triggered import FrameFile, Frames, FrameSettings, TriggeredDetector, TriggerMode

__all__ = ["FrameFile", "FrameSettings", "Frames", "TriggerMode", "TriggeredDetector"]
