"""The picture of a run: its first spectrum as a PNG, for the run's folder or for a browser."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from glidepath.export import Choice, ExportError, Run, spectrum_of

_drawing = threading.Lock()
"""Matplotlib draws in one thread at a time."""


def draw_run(run: Run, path: Path, choice: Choice | None = None) -> bool:
    """Draw the first spectrum of a run that is meant.

    Parameters
    ----------
    run
        The run.
    path
        PNG to write.
    choice
        Which spectrum is meant; None: the one that the experiment asks for.

    Returns
    -------
    bool
        Whether it was drawn: a run that names no spectrum, or has less than two rows with a value,
        has no picture.

    Raises
    ------
    ExportError
        If the run has not the columns or the spectrum that the choice names.
    """
    from glidepath.pictures import save_spectrum

    chosen = (choice or Choice()).roles(run)
    if not chosen:
        return False
    roles = chosen[0]
    spectrum = spectrum_of(run, roles)
    order = np.argsort(spectrum.energy, kind="stable")
    if np.isfinite(spectrum.intensity).sum() < 2:
        return False
    with _drawing:
        save_spectrum(
            path,
            spectrum.energy[order],
            spectrum.intensity[order],
            title=f"{run.start.get('title', '')} {run.name}".strip(),
            signal_label=f"{roles.signal} / {roles.i0}" if roles.i0 else roles.signal,
        )
    return True


async def picture(mimetype: str, adapter: Any, metadata: Any, filter_for_access: Any) -> bytes:
    """Return the picture of a run for a download from a Tiled server, as its other downloads."""
    from glidepath.export.downloads import download

    return await download(_drawn, mimetype, adapter, metadata, filter_for_access)


def _drawn(run: Run, path: Path) -> None:
    if not draw_run(run, path.with_suffix(".png")):
        raise ExportError(
            f"{run.name.capitalize()} has no spectrum to draw: it does not say which column is the "
            "signal, or less than two of its rows have a value."
        )


__all__ = ["draw_run", "picture"]
