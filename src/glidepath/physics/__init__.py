"""Physics of a soft X-ray beamline: pure functions of numpy arrays, with units, without I/O."""

from .bragg import bragg_angle, bragg_energy
from .calibration import Calibration, HarmonicFit, fit_harmonic
from .constants import HC_EV_NM
from .elements import atomic_number, atoms_of, check_edge
from .encoders import (
    BraggGeometry,
    Encoder,
    EncoderGeometry,
    GratingGeometry,
    LinearGeometry,
    counted,
)
from .focus import FocusError, FocusFit, beam_width, fit_focus
from .gap_table import HORIZONTAL, GapCurve, GapTable
from .grating import grating_angles, grating_energy
from .nitrogen import (
    N2_RELATIVE_HEIGHTS,
    N2_LINES_eV,
    N2_NATURAL_WIDTH_eV,
    N2Fit,
    absorption,
    fit_series,
)
from .nitrogen_check import N2Check, N2Judgement, N2Limits, N2Outcome, check_series
from .photoelectron import K_SQUARED_PER_eV, photoelectron_energy, wave_number
from .uncertainty import with_error
from .undulator import UE46, UE48, UE52, UE56, UndulatorLaw

__all__ = [
    "HC_EV_NM",
    "HORIZONTAL",
    "N2_RELATIVE_HEIGHTS",
    "UE46",
    "UE48",
    "UE52",
    "UE56",
    "BraggGeometry",
    "Calibration",
    "Encoder",
    "EncoderGeometry",
    "FocusError",
    "FocusFit",
    "GapCurve",
    "GapTable",
    "GratingGeometry",
    "HarmonicFit",
    "K_SQUARED_PER_eV",
    "LinearGeometry",
    "N2Check",
    "N2Fit",
    "N2Judgement",
    "N2Limits",
    "N2Outcome",
    "N2_LINES_eV",
    "N2_NATURAL_WIDTH_eV",
    "UndulatorLaw",
    "absorption",
    "atomic_number",
    "atoms_of",
    "beam_width",
    "bragg_angle",
    "bragg_energy",
    "check_edge",
    "check_series",
    "counted",
    "fit_focus",
    "fit_harmonic",
    "fit_series",
    "grating_angles",
    "grating_energy",
    "photoelectron_energy",
    "wave_number",
    "with_error",
]
