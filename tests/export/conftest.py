"""Tests of the export share `written_run`; some fly the simulated beamline."""

from flown_beamline import simulated

__all__ = ["simulated"]
