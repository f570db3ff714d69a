"""What leaves the house when a run is over: pictures and files for other programs."""

from .picture import save_spectrum

__all__ = ["save_spectrum"]
