"""What leaves the house with a run: NeXus, XDI, CSV, and a crate of all of it.

The names below are imported when they are first used: a scan needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .crate import Crate, check_crate, crate_name, write_crate
    from .csv_table import csv_name, csv_text, spectrum_columns, table_columns, write_csv
    from .files import Choice, Written, write_average, write_run
    from .mapping import DEVICES, MAPPING, Fact
    from .nexus import Combined, Master, master_name, write_nexus
    from .run import DOCUMENTS, ExportError, Run, read_documents
    from .spectrum import MODES, Roles, Spectrum, average, roles_of, spectrum_of
    from .xdi import write_xdi, xdi_name, xdi_text
__all__ = [
    "DEVICES",
    "DOCUMENTS",
    "MAPPING",
    "MODES",
    "Choice",
    "Combined",
    "Crate",
    "ExportError",
    "Fact",
    "Master",
    "Roles",
    "Run",
    "Spectrum",
    "Written",
    "average",
    "check_crate",
    "crate_name",
    "csv_name",
    "csv_text",
    "master_name",
    "read_documents",
    "roles_of",
    "spectrum_columns",
    "spectrum_of",
    "table_columns",
    "write_average",
    "write_crate",
    "write_csv",
    "write_nexus",
    "write_run",
    "write_xdi",
    "xdi_name",
    "xdi_text",
]

_MODULES = {
    "crate": ["Crate", "check_crate", "crate_name", "write_crate"],
    "csv_table": ["csv_name", "csv_text", "spectrum_columns", "table_columns", "write_csv"],
    "files": ["Choice", "Written", "write_average", "write_run"],
    "mapping": ["DEVICES", "MAPPING", "Fact"],
    "nexus": ["Combined", "Master", "master_name", "write_nexus"],
    "run": ["DOCUMENTS", "ExportError", "Run", "read_documents"],
    "spectrum": ["MODES", "Roles", "Spectrum", "average", "roles_of", "spectrum_of"],
    "xdi": ["write_xdi", "xdi_name", "xdi_text"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
