"""What leaves the house when a run is over: pictures and files for other programs."""

from .picture import save_spectrum
from .preflight_picture import save_preflight

__all__ = ["save_preflight", "save_spectrum"]
