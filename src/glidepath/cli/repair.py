"""`glidepath repair`: let other programs open the files of a scan that was killed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import DataOption, data_directory


def repair(
    what: Annotated[
        str, typer.Argument(metavar="RUN|FILE", help="Scan number, uid or its beginning, or file.")
    ],
    data: DataOption = None,
) -> None:
    """Let other programs open the files of a scan that was killed. Doing it twice does no harm.

    A file whose writer was killed says for ever that it is being written, and many programs refuse
    it. The data in it are those of the last flush; nothing of them is changed.
    """
    from glidepath.storage import repair as repair_file

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        for path in _files(what, data):
            mended = repair_file(path)
            said = "can be opened by any program now" if mended else "needs no repair"
            console.print(f"{path} {said}.", soft_wrap=True, markup=False)


def _files(what: str, data: Path | None) -> Sequence[Path]:
    """Return the files that are meant.

    Raises
    ------
    ValueError
        There are none, or several runs are meant.
    """
    from glidepath.storage import run_folders

    path = Path(what)
    if path.is_file():
        return [path]
    folders = [path] if path.is_dir() else run_folders(data_directory(data), what)
    if not folders:
        raise ValueError(
            f"{what!r} is no file and no run of the data directory; give the number of a scan, the "
            "beginning of its uid, or the path of a file."
        )
    if len(folders) > 1:
        raise ValueError(
            f"{what!r} means {len(folders)} runs, such as {folders[0].name} and "
            f"{folders[1].name}; give the path of the file."
        )
    files = sorted(folders[0].glob("*.h5"))
    if not files:
        raise ValueError(f"The run in {folders[0]} has no HDF5 file; there is nothing to repair.")
    return files


__all__ = ["repair"]
