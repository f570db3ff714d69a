"""Bluesky plans: what the run engine does, from pre-flight to the closed run."""

from .beam_based_alignment import beam_based_alignment
from .beam_damage_line import beam_damage_line
from .flyscan import flyscan, xas_flyscan
from .focus_scan import FocusData, FocusResult, focus_scan
from .inspection import inspect
from .lock_suspender import LockSuspender
from .messages import reason_of
from .n2_check import n2_check
from .restore import Move, RestoreError, moves_of, restore
from .standardise import standardise
from .trajectory_scan import trajectory_scan

__all__ = [
    "FocusData",
    "FocusResult",
    "LockSuspender",
    "Move",
    "RestoreError",
    "beam_based_alignment",
    "beam_damage_line",
    "flyscan",
    "focus_scan",
    "inspect",
    "moves_of",
    "n2_check",
    "reason_of",
    "restore",
    "standardise",
    "trajectory_scan",
    "xas_flyscan",
]
