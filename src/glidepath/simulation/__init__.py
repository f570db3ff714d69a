"""The simulated beamline: real EPICS servers in processes of their own, and their truth."""

from .beamline import NOISE_OF_A_BEAMLINE, SimulatedBeamline
from .ports import free_ports
from .truth import Truth
from .wire import Wire
from .witness import Witness

__all__ = ["NOISE_OF_A_BEAMLINE", "SimulatedBeamline", "Truth", "Wire", "Witness", "free_ports"]
