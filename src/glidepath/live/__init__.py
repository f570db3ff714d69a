"""Consumers of documents while a scan runs: progress and the spectrum so far."""

from .follower import PrimaryFollower
from .spectrum import draw_spectrum
from .view import LiveView

__all__ = ["LiveView", "PrimaryFollower", "draw_spectrum"]
