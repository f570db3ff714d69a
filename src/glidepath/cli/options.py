"""Options that several commands share, and the sessions that they open with them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

BeamlineOption = Annotated[
    str | None,
    typer.Option(
        "--beamline",
        help="Python module of the beamline. Default: of the configuration, else the "
        "simulated one.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Data directory. Default: of the configuration, else glidepath-data."
    ),
]
TiledOption = Annotated[
    str | None,
    typer.Option(
        help="Address of your Tiled server; its key is taken from the environment's "
        "TILED_API_KEY. Default: of the configuration, else a local server."
    ),
]

RUN_HELP = (
    "Scan number, uid or its beginning, a run's folder, -1 for the newest run, "
    "-2 for the one before"
)
RunArgument = Annotated[str, typer.Argument(help=f"{RUN_HELP}.")]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"{RUN_HELP}, -3: for the three newest, 12:15 for a range. Default: the newest run."
    ),
]
SignalOption = Annotated[
    str | None, typer.Option(help="Column to show. Default: the last detector.")
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(help="Column to divide it by; '' for none. Default: the beamline's I0."),
]


def open_session(beamline: str | None, data: Path | None, **options: Any) -> Any:
    """Return a session for one command: Ctrl-C ends the scan, what was typed is in its run.

    Parameters
    ----------
    beamline, data
        As the user gave them.
    options
        Options of `glidepath.session.Session`.
    """
    from glidepath.session import AbortOnInterrupt, Session

    session = Session(beamline, data, interrupts=AbortOnInterrupt, live=False, **options)
    session.command = " ".join(["glidepath", *sys.argv[1:]])
    return session


def data_directory(data: Path | None) -> Path:
    """Return the data directory that a command works on, made if it is not there.

    Raises
    ------
    ValueError
        If it cannot be used.
    """
    from glidepath.configuration import load_configuration
    from glidepath.storage.paths import check_data_directory

    return check_data_directory(load_configuration(data=data).data)


def data_and_tiled(data: Path | None, tiled: str | None) -> tuple[Path, str | None]:
    """Return the data directory that a command works on, and the address of its Tiled server.

    Without an address a server is started beside the data; see `data_directory`.
    """
    from glidepath.configuration import load_configuration
    from glidepath.storage.paths import check_data_directory

    configuration = load_configuration(data=data, tiled=tiled)
    return check_data_directory(configuration.data), configuration.tiled


def stored_data(data: Path | None, runs: Sequence[str] = ()) -> Path:
    """Return the data directory that a command reads from.

    It need not be there if all the runs that were asked for are folders, which are read by
    themselves.

    Raises
    ------
    ValueError
        If it is not there.
    """
    from glidepath.configuration import load_configuration

    if runs and all(Path(run).is_dir() for run in runs):
        return Path(runs[0]).absolute()
    root = load_configuration(data=data).data
    if not root.is_dir():
        raise ValueError(
            f"There is no data directory {root.absolute()}; name the one of your runs with --data."
        )
    return root


__all__ = [
    "BeamlineOption",
    "DataOption",
    "ReferenceOption",
    "RunArgument",
    "RunsArgument",
    "SignalOption",
    "TiledOption",
    "data_and_tiled",
    "data_directory",
    "open_session",
    "stored_data",
]
