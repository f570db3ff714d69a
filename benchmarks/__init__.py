"""Measurements of Glidepath and of its peers; see `glidepath bench`.

A benchmark is a module with ``rows(quick=False)``, which measures and returns a list of dicts
that JSON can hold, and ``table(rows)``, which returns them as a `rich.table.Table`.
"""

import glidepath.epics_libraries_first  # noqa: F401 (before all others)

__all__: list[str] = []
