"""Continuous energy scans for synchrotron beamlines, on ophyd-async and Bluesky.

What a scientist or a beamline's own module needs, in one import. Each name is imported when it is
first used, so that ``import glidepath`` takes milliseconds. What an extension implements is in
`glidepath.extend`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glidepath.catalog import load_run, read_primary, rebin_run
    from glidepath.flyers import BeamGuard, Triggers
    from glidepath.logbook import Experiment
    from glidepath.plans import flyscan, focus_scan, inspect, xas_flyscan
    from glidepath.session import Session
    from glidepath.trajectory import Region, Trajectory

__version__ = "0.2.0"

__all__ = [
    "BeamGuard",
    "Experiment",
    "Region",
    "Session",
    "Trajectory",
    "Triggers",
    "__version__",
    "flyscan",
    "focus_scan",
    "inspect",
    "load_run",
    "read_primary",
    "rebin_run",
    "xas_flyscan",
]

_HOMES = {
    "catalog": ["load_run", "read_primary", "rebin_run"],
    "flyers": ["BeamGuard", "Triggers"],
    "logbook": ["Experiment"],
    "plans": ["flyscan", "focus_scan", "inspect", "xas_flyscan"],
    "session": ["Session"],
    "trajectory": ["Region", "Trajectory"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    # The next access does not come here.
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
