"""Time series without I/O: channels, windows, alignment, rebinning. Pure numpy."""

from .aligner import GRACE, LATENESS, Aligner, ChannelReport, Mark, Span
from .channel import Channel, ChannelKind
from .coverage import Coverage
from .delay import DelayEstimate, Pass, estimate_delay
from .quality import Quality
from .rebin import EnergyBins, rebin_energy, rebin_windows, uniform_grid, xas_grid
from .series import Series
from .windows import HOLD_AFTER, OVERFLOW, WindowValues, value_at, window_values

__all__ = [
    "GRACE",
    "HOLD_AFTER",
    "LATENESS",
    "OVERFLOW",
    "Aligner",
    "Channel",
    "ChannelKind",
    "ChannelReport",
    "Coverage",
    "DelayEstimate",
    "EnergyBins",
    "Mark",
    "Pass",
    "Quality",
    "Series",
    "Span",
    "WindowValues",
    "estimate_delay",
    "rebin_energy",
    "rebin_windows",
    "uniform_grid",
    "value_at",
    "window_values",
    "xas_grid",
]
