"""The session: run engine, devices, catalogue, live view, behind every door of the house."""

from glidepath.sentences import ScanError

from .interrupts import AbortOnInterrupt, PauseOnInterrupt
from .session import Session

__all__ = ["AbortOnInterrupt", "PauseOnInterrupt", "ScanError", "Session"]
