"""Growing files, the documents that point into them, and where they lie."""

from .aligned_images import AlignedImages, ImagesError, check_images, image_shape
from .documents import HDF5_MIMETYPE, TableDocuments, column_key, dataset_paths
from .growing import Column, FileError, GrowingFile, Table, read_columns
from .hdf5 import open_hdf5, open_to_read, repair
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
