"""The names that a user finds at the prompt."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

from glidepath.session import Session

PUBLIC = (
    *("flyscan", "xas_flyscan", "focus_scan", "inspect", "Region", "Trajectory", "BeamGuard"),
    *("Triggers", "Experiment", "load_run"),
)
"""Names of the package."""

PLANS = ("n2_check", "beam_damage_line", "restore")
"""Plans that are asked for less often, which the package itself does not name."""


def names_for(session: Session) -> dict[str, Any]:
    """Return what is at hand: run engine, devices, plans, numpy and matplotlib.

    Devices are connected when a cell uses them; see `glidepath.shell.shell.install`.
    """
    import bluesky.plan_stubs as bps
    import bluesky.plans as bp
    import numpy as np

    import glidepath
    from glidepath import plans

    names: dict[str, Any] = {
        "RE": session.RE,
        "s": session,
        "runs": session.runs,
        "bp": bp,
        "bps": bps,
        "mv": bps.mv,
        "mvr": bps.mvr,
        "mov": bps.mov,
        "np": np,
        "plt": _when_used("matplotlib.pyplot"),
        "glidepath": glidepath,
    }
    names |= {name: getattr(glidepath, name) for name in PUBLIC if hasattr(glidepath, name)}
    names |= {name: getattr(plans, name) for name in PLANS}
    return names | dict(session.beamline.devices)


def _when_used(name: str) -> ModuleType:
    """Return a module that is imported when something of it is used."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


__all__ = ["names_for"]
