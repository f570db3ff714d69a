"""Who, what and for whom: the experiment, notes, and what is told to catalogues and e-logs."""

from .experiment import MODES, TECHNIQUES, Experiment, ExperimentError, Proposal, Sample, User

__all__ = [
    "MODES",
    "TECHNIQUES",
    "Experiment",
    "ExperimentError",
    "Proposal",
    "Sample",
    "User",
]
