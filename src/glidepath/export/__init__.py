"""What leaves the house with a run: NeXus, XDI, CSV, and a crate of all of it."""

from .crate import Crate, check_crate, crate_name, write_crate
from .csv_table import csv_name, csv_text, spectrum_columns, table_columns, write_csv
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
    "Combined",
    "Crate",
    "ExportError",
    "Fact",
    "Master",
    "Roles",
    "Run",
    "Spectrum",
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
    "write_crate",
    "write_csv",
    "write_nexus",
    "write_xdi",
    "xdi_name",
    "xdi_text",
]
