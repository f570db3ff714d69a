"""Which destinations a data directory has: two always, and those that the configuration names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .delivery import Destination
from .elog import Elog
from .esrf import Esrf
from .files import IngestFile, MarkdownLogbook
from .icat_plus import IcatPlus

KINDS: Mapping[str, Callable[..., Destination]] = {
    IcatPlus.name: IcatPlus,
    Elog.name: Elog,
    Esrf.name: Esrf,
}
"""Name in the configuration -> destination; its keys are the parameters of the class."""


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
