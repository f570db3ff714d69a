"""Consumers of documents while a scan runs: progress and the spectrum so far.

The names below are imported when they are first used: a command that shows nothing draws nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .follower import PrimaryFollower

if TYPE_CHECKING:
    from .figure import FigureView
    from .journal_follower import JournalFollower
    from .notebook import NotebookView
    from .spectrum import Curve, draw_curves, draw_spectrum
    from .spectrum_data import (
        Display,
        Mean,
        Pass,
        derivative_of,
        display_of,
        mean_of,
        passes_of,
    )
    from .stream_events import StreamsAsEvents
    from .view import LiveView, view_for

__all__ = [
    "Curve",
    "Display",
    "FigureView",
    "JournalFollower",
    "LiveView",
    "Mean",
    "NotebookView",
    "Pass",
    "PrimaryFollower",
    "StreamsAsEvents",
    "derivative_of",
    "display_of",
    "draw_curves",
    "draw_spectrum",
    "mean_of",
    "passes_of",
    "view_for",
]

_MODULES = {
    "figure": ["FigureView"],
    "journal_follower": ["JournalFollower"],
    "notebook": ["NotebookView"],
    "spectrum": ["Curve", "draw_curves", "draw_spectrum"],
    "spectrum_data": [
        *("Display", "Mean", "Pass", "derivative_of", "display_of", "mean_of", "passes_of"),
    ],
    "stream_events": ["StreamsAsEvents"],
    "view": ["LiveView", "view_for"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
