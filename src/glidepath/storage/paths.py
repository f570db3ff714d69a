"""Where the files of a run go: one folder per run, by date."""

import os
import re
from datetime import datetime
from pathlib import Path


def run_folder(root: Path, uid: str, scan_id: int, time: float) -> Path:
    """Return the folder of a run: ``root/yyyy/mm/dd/<scan id>_<first 8 of uid>``.

    Parameters
    ----------
    root
        The data directory.
    uid
        Unique id of the run (hexadecimal with dashes).
    scan_id
        Number of the scan.
    time
        Begin of the run (POSIX s); the date is the local one.

    Raises
    ------
    ValueError
        If the uid could lead out of ``root``.
    """
    if not re.fullmatch(r"[0-9A-Za-z-]{8,64}", uid):
        raise ValueError(f"{uid!r} is no uid of a run; letters, digits and dashes are allowed.")
    if scan_id < 0:
        raise ValueError(f"{scan_id!r} is no scan id; it must be zero or more.")
    date = datetime.fromtimestamp(time)
    return root / f"{date:%Y}" / f"{date:%m}" / f"{date:%d}" / f"{int(scan_id):06d}_{uid[:8]}"


def run_folders(root: Path, run: str) -> list[Path]:
    """Return the folders of the runs of a data directory with a number or the beginning of a uid.

    Parameters
    ----------
    root
        The data directory.
    run
        Number of the scan, or a uid or its beginning (at least 5 characters).

    Returns
    -------
    list of Path
        Oldest first; empty if there is none.
    """
    found = sorted(root.glob("[0-9]*/[0-9]*/[0-9]*/[0-9]*_*"))
    if run.isdigit():
        numbered = [path for path in found if int(path.name.partition("_")[0]) == int(run)]
        if numbered:
            return numbered
    if len(run) < 5:
        return []
    return [path for path in found if path.name.partition("_")[2].startswith(run[:8])]


def check_data_directory(root: Path) -> Path:
    """Return ``root`` as an absolute path, made if it is not there, or say what is wrong.

    Raises
    ------
    ValueError
        If it is not a folder that can be written to.
    """
    root = Path(root).expanduser().resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"The data directory {root} cannot be made ({error.strerror}); name another one."
        ) from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise ValueError(f"The data directory {root} cannot be written to; name another one.")
    return root


class _Session:
    """The data directory of this Python session."""

    root: Path | None = None


def use_data_root(root: Path | str) -> Path:
    """Let the runs of this session go below ``root``; return it as an absolute path.

    Raises
    ------
    ValueError
        If it is not a folder that can be written to.
    """
    _Session.root = check_data_directory(Path(root))
    return _Session.root


def data_root() -> Path:
    """Return the data directory of this session.

    It is what `use_data_root` was given, else the environment's ``GLIDEPATH_DATA``, else the
    folder ``glidepath-data`` where Python was started.
    """
    if _Session.root is None:
        return use_data_root(os.environ.get("GLIDEPATH_DATA") or "glidepath-data")
    return _Session.root


__all__ = ["check_data_directory", "data_root", "run_folder", "run_folders", "use_data_root"]
