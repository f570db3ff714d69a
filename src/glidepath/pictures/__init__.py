"""What leaves the house when a run is over: pictures and files for other programs."""

from .focus_picture import save_focus
from .preflight_picture import save_preflight
from .spectrum_picture import save_spectrum

__all__ = ["save_focus", "save_preflight", "save_spectrum"]
