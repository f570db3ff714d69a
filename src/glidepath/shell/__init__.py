"""The shell: IPython with a session's devices, plans and runs at hand."""

from .magics import ScanMagics
from .names import names_for
from .shell import install, start

__all__ = ["ScanMagics", "install", "names_for", "start"]
