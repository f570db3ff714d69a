"""Tests that the hardware of a beamline passes: suites for each family, a report, a history.

`glidepath check` makes them from the command line, ``pytest --beamline my.module`` beside tests of
one's own. Importing this package costs little: what needs devices comes when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .outcomes import Failed, Figure, LeftOut, Outcome, Result

if TYPE_CHECKING:
    from .needs import Needs, Nitrogen
    from .runner import Runner
    from .suite import Planned, Suite, Test, planned_tests, register_suite
    from .trial import Asked, Trial

__all__ = [
    "Asked",
    "Failed",
    "Figure",
    "LeftOut",
    "Needs",
    "Nitrogen",
    "Outcome",
    "Planned",
    "Result",
    "Runner",
    "Suite",
    "Test",
    "Trial",
    "planned_tests",
    "register_suite",
]

_HOME = {
    **dict.fromkeys(("Needs", "Nitrogen"), "needs"),
    **dict.fromkeys(("Asked", "Trial"), "trial"),
    **dict.fromkeys(("Planned", "Suite", "Test", "planned_tests", "register_suite"), "suite"),
    "Runner": "runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
