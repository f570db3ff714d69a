"""Loads what other packages have registered, when it is first needed."""

import functools
import logging
from importlib.metadata import entry_points

__all__ = ["load_extensions"]

log = logging.getLogger(__name__)


@functools.cache
def load_extensions(group: str) -> tuple[str, ...]:
    """Import what installed packages name in a group of entry points; once in a process.

    An entry point names a module that registers classes when it is imported, such as
    ``my_diodes = "my_package.glidepath_channels"`` in the group ``glidepath.channels``. One that
    cannot be imported is reported in the log and hinders no other.

    Returns
    -------
    tuple of str
        Names of those that were imported.
    """
    loaded = []
    for found in entry_points(group=group):
        try:
            found.load()
        except Exception as error:
            log.warning("The extension %s of %s cannot be used: %s", found.name, group, error)
        else:
            loaded.append(found.name)
    return tuple(loaded)
