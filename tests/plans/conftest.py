"""Tests of the plans fly the simulated beamline."""

from flown_beamline import simulated

__all__ = ["simulated"]
