"""Imports first what is slow to import late.

The libraries of EPICS ask for the whole stack and for every module that is loaded when they are
imported (``setuptools_dso.runtime``). As the last of many, that takes up to two seconds; as the
first, a tenth of one. A program that speaks to EPICS imports this before anything else.
"""

from contextlib import suppress

import epicscorelibs.ca.cadef  # noqa: F401

with suppress(ImportError):
    # Of the extra for PandAs, which ophyd-async imports wherever it is installed.
    import pvxslibs.path  # noqa: F401
