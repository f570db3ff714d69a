"""Detectors that are triggered or stream by themselves: cameras, fast electrometers, counters.

Detectors that run freely and are sampled (electrometers) are in `glidepath.devices`.
"""

from .area_detector import Camera, StatisticsSource
from .check import DetectorCheck, Finding, Result
from .counter import Counter
from .drivers import DRIVERS, Driver
from .quad_electrometer import QuadElectrometer
from .scaler import Scaler
from .triggered import FrameFile, Frames, FrameSettings, TriggeredDetector, TriggerMode
from .triggered_electrometer import TriggeredElectrometer

__all__ = [
    "DRIVERS",
    "Camera",
    "Counter",
    "DetectorCheck",
    "Driver",
    "Finding",
    "FrameFile",
    "FrameSettings",
    "Frames",
    "QuadElectrometer",
    "Result",
    "Scaler",
    "StatisticsSource",
    "TriggerMode",
    "TriggeredDetector",
    "TriggeredElectrometer",
]
