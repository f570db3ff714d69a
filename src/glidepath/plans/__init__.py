"""Bluesky plans: what the run engine does, from pre-flight to the closed run."""

from .flyscan import flyscan, inspect, reason_of

__all__ = ["flyscan", "inspect", "reason_of"]
