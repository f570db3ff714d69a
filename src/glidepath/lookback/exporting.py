"""Exports runs as one asks for them at a prompt: one file, its format by its name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glidepath.catalog.journal import encode
from glidepath.export import ExportError, Run, Written
from glidepath.export.files import FORMATS, Choice, write_average, write_run

if TYPE_CHECKING:
    from .stored_run import StoredRun


def export_runs(
    runs: "Sequence[StoredRun]",
    path: Path | str | None = None,
    *,
    license_url: str | None = None,
    **choice: Any,
) -> Written:
    """Write one run, or the common spectrum of several, as one file.

    Parameters
    ----------
    runs
        The runs; of several the mean with its errors is written, and each pass alone.
    path
        File to write; its ending says the format: ``.nxs``, ``.xdi``, ``.csv``, ``.zip`` (a
        crate). None: the NeXus file of one run, in its folder.
    license_url
        Licence of a crate.
    choice
        Of `glidepath.export.files.Choice`: ``mode``, ``signal``, ``i0``, ``reference``, ``step``,
        ``classic``.

    Raises
    ------
    ExportError
        If it cannot be done, in one sentence; what was there before stays.
    """
    place = None if path is None else Path(path).expanduser()
    kind = "nexus" if place is None else FORMATS.get(place.suffix.lower(), "")
    if not kind:
        raise ExportError(
            f"{place} does not say its format; give it one of the endings {', '.join(FORMATS)}."
        )
    try:
        chosen = Choice(**choice)
    except TypeError as error:
        raise ExportError(
            f"An export knows mode, signal, i0, reference, step and classic, and not all of "
            f"{', '.join(choice)}."
        ) from error
    if not runs:
        raise ExportError("There is no run to export.")
    opened = [_opened(run) for run in runs]
    if len(opened) > 1:
        if place is None:
            raise ExportError("Several runs become one file; name it.")
        return write_average(opened, place, kind, chosen)
    lines = b"".join(encode(name, document) for name, document in runs[0].documents)
    return write_run(opened[0], place, kind, chosen, documents=lines, license_url=license_url)


def _opened(run: "StoredRun") -> Run:
    return Run(run.documents, folder=run.folder)


__all__ = ["export_runs"]
