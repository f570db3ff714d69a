"""Images in a crate: the file that shows them by row points to where the crate has their files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import h5py

from glidepath.storage.aligned_images import DATASET, SOURCES


def has_sources_elsewhere(path: Path, folder: Path) -> bool:
    """Tell whether a file shows images of a file outside a folder, found by steps up from it."""
    if not path.exists() or not h5py.is_hdf5(path):
        return False
    try:
        with h5py.File(path, "r", libver="latest", swmr=True) as file:
            dataset = file.get(DATASET)
            if dataset is None or not dataset.is_virtual:
                return False
            sources = [_place(path, one.file_name) for one in dataset.virtual_sources()]
    except (OSError, RuntimeError):
        return False  # a damaged file is packed as it is
    return any(not source.is_relative_to(folder) for source in sources)


def write_relinked(path: Path, new: Path, names: Mapping[Path, str]) -> None:
    """Copy a file that shows images, with other names for the files that it shows.

    Parameters
    ----------
    path, new
        The file, and the copy to write.
    names
        Name of each file, seen from the folder of the copy; those that are not named keep theirs.
    """
    shutil.copyfile(path, new)
    with h5py.File(new, "r+", libver="latest") as file:
        dataset = file[DATASET]
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        for one in dataset.virtual_sources():
            place = _place(path, one.file_name)
            name = names.get(place, one.file_name)
            settings.set_virtual(one.vspace, name.encode(), one.dset_name.encode(), one.src_space)
        kind, space = dataset.id.get_type(), dataset.id.get_space()
        del file[DATASET]
        h5py.h5d.create(file.id, DATASET.encode(), kind, space, settings)
        for group in file[SOURCES].values() if SOURCES in file else ():
            known = str(group.attrs["path"])
            group.attrs["path"] = names.get(_place(path, known), known)


def _place(path: Path, name: str) -> Path:
    return Path(os.path.normpath(path.parent / name))


__all__ = ["has_sources_elsewhere", "write_relinked"]
