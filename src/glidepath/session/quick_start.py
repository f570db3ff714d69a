"""Keeps from being imported what nobody needs, so that a session is there sooner."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_imported(name: str) -> Iterator[None]:
    """Let a package look as if it were not installed, unless somebody has imported it already.

    A run engine imports classic ophyd, where it is installed, only to note its version: that takes
    half a second, and starts threads of a second client of Channel Access. A beamline with classic
    devices has imported it before.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


__all__ = ["not_imported"]
