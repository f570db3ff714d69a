"""Detectors that are triggered or stream by themselves: cameras, fast electrometers, counters.

Detectors that run freely and are sampled (electrometers) are in `glidepath.devices`.
"""

from .camera import DRIVERS, Camera, Driver, RunPaths, StatisticsSource
from .check import DetectorCheck, Finding, Result
from .counter import Counter
from .frame_source import (
    EndsWithNext,
    FrameFile,
    Frames,
    FrameSettings,
    FrameSource,
    MakesRemarks,
    MakesSeveralFrames,
    TriggerMode,
    no_frames,
)
from .frame_sources import find_frame_source, frame_source_for, register_frame_source
from .handshake import confirm, put_and_confirm, read_together
from .limits import check_timing
from .quad_electrometer import QuadElectrometer
from .scaler import Scaler
from .stock_detector import StockDetector, triggered
from .triggered_electrometer import TriggeredElectrometer

__all__ = [
    "DRIVERS",
    "Camera",
    "Counter",
    "DetectorCheck",
    "Driver",
    "EndsWithNext",
    "Finding",
    "FrameFile",
    "FrameSettings",
    "FrameSource",
    "Frames",
    "MakesRemarks",
    "MakesSeveralFrames",
    "QuadElectrometer",
    "Result",
    "RunPaths",
    "Scaler",
    "StatisticsSource",
    "StockDetector",
    "TriggerMode",
    "TriggeredElectrometer",
    "check_timing",
    "confirm",
    "find_frame_source",
    "frame_source_for",
    "no_frames",
    "put_and_confirm",
    "read_together",
    "register_frame_source",
    "triggered",
]
