"""Looking back at runs: which there are, what they say, how they look, what is in them.

Everything is read from the journal and the files of a data directory, so that it works the moment
a run has ended, without a server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .index import Run, RunIndex, RunNotFoundError

if TYPE_CHECKING:
    from .comparison import Difference, differences, moved_during
    from .fits import EdgeResult, N2Result, fit_edge_of, fit_n2_of
    from .spectra import Spectrum, spectra_of
    from .stored_run import Reading, StoredRun

__all__ = [
    "Difference",
    "EdgeResult",
    "N2Result",
    "Reading",
    "Run",
    "RunIndex",
    "RunNotFoundError",
    "Spectrum",
    "StoredRun",
    "differences",
    "fit_edge_of",
    "fit_n2_of",
    "moved_during",
    "spectra_of",
]

_MODULES = {
    "comparison": ["Difference", "differences", "moved_during"],
    "fits": ["EdgeResult", "N2Result", "fit_edge_of", "fit_n2_of"],
    "spectra": ["Spectrum", "spectra_of"],
    "stored_run": ["Reading", "StoredRun"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
