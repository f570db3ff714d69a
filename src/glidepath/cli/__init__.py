"""The command line: `glidepath --help`."""

from .main import main

__all__ = ["main"]
