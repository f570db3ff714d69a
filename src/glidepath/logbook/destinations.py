"""Which destinations a data directory has: two always, and those that the configuration names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .delivery import Destination
from .files import IngestFile, MarkdownLogbook


def _icat_plus(**parameters: Any) -> Destination:
    from .icat_plus import IcatPlus

    return IcatPlus(**parameters)


def _elog(**parameters: Any) -> Destination:
    from .elog import Elog

    return Elog(**parameters)


def _esrf(**parameters: Any) -> Destination:
    from .esrf import Esrf

    return Esrf(**parameters)


KINDS: Mapping[str, Callable[..., Destination]] = {
    "icatplus": _icat_plus,
    "elog": _elog,
    "esrf": _esrf,
}
"""Name in the configuration -> makes the destination; its keys are the parameters of the class.

Each imports what it needs when it is made: a client for the web takes a tenth of a second.
"""


def destinations_of(root: Path, configured: Mapping[str, Any] | None = None) -> list[Destination]:
    """Return where a data directory's messages go.

    Parameters
    ----------
    root
        The data directory.
    configured
        The table ``[logbook]`` of the configuration: a table for each of `KINDS`.

    Raises
    ------
    ValueError
        If it names an unknown destination or parameter.
    """
    found: list[Destination] = [MarkdownLogbook(root), IngestFile()]
    for name, parameters in (configured or {}).items():
        if name not in KINDS:
            raise ValueError(f"[logbook.{name}] is no destination; there are {', '.join(KINDS)}.")
        try:
            found.append(KINDS[name](**parameters))
        except TypeError as error:
            raise ValueError(f"[logbook.{name}] cannot be used: {error}.") from error
    return found


__all__ = ["KINDS", "destinations_of"]
