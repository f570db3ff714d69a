"""One file of one run or of several, by its format.

The command line, a session and a catalogue's downloads share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glidepath.sentences import as_sentence

from .crate import NO_LICENSE, write_crate
from .csv_table import spectrum_columns, table_columns, write_csv
from .nexus import Combined, write_nexus
from .run import ExportError, Run
from .spectrum import MODES, Roles, Spectrum, average, roles_of, spectrum_of
from .xdi import write_xdi

FORMATS = {".nxs": "nexus", ".xdi": "xdi", ".csv": "csv", ".zip": "crate"}
"""Ending of a file's name -> format."""


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes
    ----------
    path
        The file.
    remarks
        Sentences about what it does not hold, and about runs that did not end well.
    """

    path: Path
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([f"Written: {self.path}", *(f"Note: {one}" for one in self.remarks)])


@dataclass(frozen=True)
class Choice:
    """Which spectrum of a run is meant.

    Parameters
    ----------
    mode
        One of `MODES`; None: the one that the experiment asks for.
    signal, i0, reference
        Columns; None: as the run says.
    step
        Width of a bin in the axis's unit; None: the rows as they are, or as fine as they are.
    classic
        NeXus by the classic definition.

    Raises
    ------
    ExportError
        If there is no such mode, or I0 is named without a signal.
    """

    mode: str | None = None
    signal: str | None = None
    i0: str | None = None
    reference: str | None = None
    step: float | None = None
    classic: bool = False

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise ExportError(f"{self.mode!r} is no mode; give one of {', '.join(MODES)}.")
        if self.signal is None and (self.i0 is not None or self.reference is not None):
            raise ExportError(
                "I0 (--i0) and the reference (--reference) need the column of the signal "
                "(--signal)."
            )

    def roles(self, run: Run) -> list[Roles]:
        """Return the spectra of a run that are meant; none if the run names none.

        Raises
        ------
        ExportError
            If the run has no spectrum of the mode, or not the columns.
        """
        named = []
        if self.signal is not None:
            named = [Roles(self.mode or "tey", self.signal, self.i0, self.reference)]
        found = [one for one in roles_of(run, named) if self.mode in (None, one.mode)]
        if self.mode is not None and not found:
            raise ExportError(
                f"{run.name.capitalize()} does not say what its spectrum of the mode {self.mode} "
                "is; name the columns of the signal (--signal) and of I0 (--i0)."
            )
        return found

    def first(self, run: Run) -> Roles:
        """Return the first spectrum of a run that is meant.

        Raises
        ------
        ExportError
            If there is none.
        """
        found = self.roles(run)
        if not found:
            raise ExportError(
                f"{run.name.capitalize()} does not say which column is the signal; name it "
                "(--signal), and that of the incident intensity (--i0)."
            )
        return found[0]


def write_run(
    run: Run,
    path: Path | None,
    kind: str,
    choice: Choice = Choice(),
    *,
    documents: bytes = b"",
    license_url: str | None = None,
) -> Written:
    """Write one run as one file.

    Parameters
    ----------
    run
        The run.
    path
        File to write; None: the NeXus file in the run's folder.
    kind
        One of the values of `FORMATS`. NeXus and crates hold all spectra that are meant; XDI, and
        CSV with a ``step``, the first one; CSV without a step all rows.
    choice
        Which spectrum is meant.
    documents, license_url
        For a crate: the run's documents, one in each line, and its licence.

    Raises
    ------
    ExportError
        If the run does not allow it, or the file cannot be written.
    """
    unfinished = not_finished([run])
    if kind == "nexus":
        roles = choice.roles(run)
        master = write_nexus(run, path, roles=roles, classic=choice.classic, step=choice.step)
        return Written(master.path, (*master.remarks, *unfinished))
    if path is None:
        raise ExportError("Name the file to write.")
    if kind == "xdi":
        return Written(
            write_xdi([run], spectrum_of(run, choice.first(run), choice.step), path), unfinished
        )
    if kind == "csv":
        if choice.step is None:
            return Written(write_csv(table_columns(run), path), unfinished)
        spectrum = spectrum_of(run, choice.first(run), choice.step)
        return Written(write_csv(spectrum_columns(run, spectrum), path), unfinished)
    packed = write_crate(run, path, documents=documents, license_url=license_url or NO_LICENSE)
    return Written(packed.path, (*packed.remarks, *unfinished))


def write_average(
    runs: Sequence[Run],
    path: Path,
    kind: str,
    choice: Choice = Choice(),
) -> Written:
    """Write the common spectrum of several runs: their mean with errors, and each pass alone.

    Raises
    ------
    ExportError
        As `write_run`; or if the format holds one run only.
    """
    if kind == "crate":
        raise ExportError("A crate holds one run; pack each by itself.")
    spectrum = average_of(runs, choice)
    remarks = (*not_finished(runs), *_no_success(runs))
    if kind == "nexus":
        combined = Combined(spectrum, [run.uid for run in runs])
        master = write_nexus(
            runs[0], path, classic=choice.classic, step=choice.step, combined=combined
        )
        return Written(master.path, (*master.remarks, *remarks))
    if kind == "xdi":
        return Written(write_xdi(runs, spectrum, path), remarks)
    return Written(write_csv(spectrum_columns(runs[0], spectrum), path), remarks)


def not_finished(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return a sentence for each run that has no end: it is still recorded, or was killed."""
    return tuple(
        f"{run.name.capitalize()} is not finished: no end was recorded, and the file holds what "
        f"it had, {run.table.rows} rows."
        for run in runs
        if not run.stop
    )


def _no_success(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return a sentence for each run that failed or was aborted."""
    ends = {"fail": "failed", "abort": "was aborted"}
    found = [(run, ends.get(run.stop.get("exit_status", ""))) for run in runs]
    return tuple(
        f"{run.name.capitalize()} {end}, and is averaged all the same: {as_sentence(run.verdict())}"
        for run, end in found
        if end
    )


def average_of(runs: Sequence[Run], choice: Choice) -> Spectrum:
    """Return the common spectrum of several runs."""
    return average(runs, [choice.first(run) for run in runs], choice.step)


__all__ = [
    "FORMATS",
    "Choice",
    "Written",
    "average_of",
    "not_finished",
    "write_average",
    "write_run",
]
