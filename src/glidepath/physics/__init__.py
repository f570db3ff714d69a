"""Physics of a soft X-ray beamline: pure functions of numpy arrays, with units, without I/O."""

from .bragg import bragg_angle, bragg_energy
from .constants import HC_EV_NM
from .focus import FocusError, FocusFit, beam_width, fit_focus
from .grating import grating_angles, grating_energy
from .nitrogen import (
    N2_RELATIVE_HEIGHTS,
    N2_LINES_eV,
    N2_NATURAL_WIDTH_eV,
    N2Fit,
    absorption,
    fit_series,
)
from .undulator import UE48, UndulatorLaw

__all__ = [
    "HC_EV_NM",
    "N2_RELATIVE_HEIGHTS",
    "UE48",
    "FocusError",
    "FocusFit",
    "N2Fit",
    "N2_LINES_eV",
    "N2_NATURAL_WIDTH_eV",
    "UndulatorLaw",
    "absorption",
    "beam_width",
    "bragg_angle",
    "bragg_energy",
    "fit_focus",
    "fit_series",
    "grating_angles",
    "grating_energy",
]
