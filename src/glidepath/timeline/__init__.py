"""Time series without I/O: channels, windows, alignment, rebinning. Pure numpy."""

from .accounting import PATIENCE, DetectorAccount, MatchedRows, TriggerAccounting
from .aligner import Aligner
from .channel import Channel, ChannelKind
from .clock_steps import ClockStep, ClockWatch
from .clocks import ClockFit, find_clock
from .coverage import Coverage
from .delay import DelayEstimate, Pass, estimate_delay
from .good_rows import EVERYTHING, HARMLESS, bits_per_bin, good_rows, joined_windows
from .grids import ENERGY_UNITS, default_step, uniform_grid, xas_grid
from .latched import latched_windows
from .matching import FollowingDetector
from .quality import Quality
from .rebin import EnergyBins, rebin_energy, rebin_windows
from .series import Series
from .spans import Span
from .tracks import GRACE, LATENESS, ChannelReport, Mark
from .windows import HOLD_AFTER, OVERFLOW, WindowValues, value_at, window_values

__all__ = [
    "ENERGY_UNITS",
    "EVERYTHING",
    "GRACE",
    "HARMLESS",
    "HOLD_AFTER",
    "LATENESS",
    "OVERFLOW",
    "PATIENCE",
    "Aligner",
    "Channel",
    "ChannelKind",
    "ChannelReport",
    "ClockFit",
    "ClockStep",
    "ClockWatch",
    "Coverage",
    "DelayEstimate",
    "DetectorAccount",
    "EnergyBins",
    "FollowingDetector",
    "Mark",
    "MatchedRows",
    "Pass",
    "Quality",
    "Series",
    "Span",
    "TriggerAccounting",
    "WindowValues",
    "bits_per_bin",
    "default_step",
    "estimate_delay",
    "find_clock",
    "good_rows",
    "joined_windows",
    "latched_windows",
    "rebin_energy",
    "rebin_windows",
    "uniform_grid",
    "value_at",
    "window_values",
    "xas_grid",
]
