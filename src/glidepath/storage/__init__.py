"""Growing files, the documents that point into them, and where they lie.

The names below are imported when they are first used: who only looks for a run needs no documents.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aligned_images import AlignedImages, ImagesError, check_images, image_shape
    from .documents import HDF5_MIMETYPE, TableDocuments, column_key, dataset_paths
    from .growing import Column, FileError, GrowingFile, Table, read_columns
    from .hdf5 import open_hdf5, open_to_read, repair
    from .lines import GrowingLines, document_in, ends_with_stop
    from .locks import FileLock
    from .pace import Pace, Presence, use_flush_periods, watching
    from .paths import check_data_directory, data_root, run_folder, run_folders, use_data_root
    from .run_documents import DOCUMENTS, folder_in_path, keep_documents, place_in_folder
    from .scan_numbers import ScanNumberError, ScanNumbers
    from .validation import compile_validators

__all__ = [
    "DOCUMENTS",
    "HDF5_MIMETYPE",
    "AlignedImages",
    "Column",
    "FileError",
    "FileLock",
    "GrowingFile",
    "GrowingLines",
    "ImagesError",
    "Pace",
    "Presence",
    "ScanNumberError",
    "ScanNumbers",
    "Table",
    "TableDocuments",
    "check_data_directory",
    "check_images",
    "column_key",
    "compile_validators",
    "data_root",
    "dataset_paths",
    "document_in",
    "ends_with_stop",
    "folder_in_path",
    "image_shape",
    "keep_documents",
    "open_hdf5",
    "open_to_read",
    "place_in_folder",
    "read_columns",
    "repair",
    "run_folder",
    "run_folders",
    "use_data_root",
    "use_flush_periods",
    "watching",
]

_MODULES = {
    "aligned_images": ["AlignedImages", "ImagesError", "check_images", "image_shape"],
    "documents": ["HDF5_MIMETYPE", "TableDocuments", "column_key", "dataset_paths"],
    "growing": ["Column", "FileError", "GrowingFile", "Table", "read_columns"],
    "hdf5": ["open_hdf5", "open_to_read", "repair"],
    "lines": ["GrowingLines", "document_in", "ends_with_stop"],
    "locks": ["FileLock"],
    "pace": ["Pace", "Presence", "use_flush_periods", "watching"],
    "paths": ["check_data_directory", "data_root", "run_folder", "run_folders", "use_data_root"],
    "run_documents": ["DOCUMENTS", "folder_in_path", "keep_documents", "place_in_folder"],
    "scan_numbers": ["ScanNumberError", "ScanNumbers"],
    "validation": ["compile_validators"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    # The next access does not come here.
    globals()[name] = found
    return found
