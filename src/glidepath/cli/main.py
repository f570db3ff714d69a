"""Collects the commands. Each lives in a file of its own, which is imported when it is called.

Importing all of them takes a second; ``glidepath --help`` needs only what is in this file.
"""

import atexit
import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from glidepath import __version__


@dataclass(frozen=True)
class Entry:
    """One command: where it is, and what the list of commands says of it.

    Attributes
    ----------
    help
        First sentence of its docstring.
    module
        Module of this package; None: of the command's name.
    numbers
        Whether it takes negative numbers as arguments, which are then no options.
    offline
        Whether it works on what is on the disk, without any device.
    """

    help: str
    module: str | None = None
    numbers: bool = False
    offline: bool = False


COMMANDS = {
    "fly": Entry(
        "Fly AXIS from START to STOP at VELOCITY, or over regions, and record the detectors.",
        numbers=True,
    ),
    "preflight": Entry(
        "Say what flying AXIS would do, and every reason not to; exit status 2 if there is one.",
        numbers=True,
    ),
    "focus": Entry(
        "Scan a motor from START to STOP and find where the beam on a camera is smallest.",
        numbers=True,
    ),
    "n2": Entry(
        "Fly the N2 lines and judge energy scale and resolution; exit status 1 if it did not pass."
    ),
    "shell": Entry("Open IPython with a beamline's devices, plans and runs at hand."),
    "live": Entry(
        "Show the scan that runs in a data directory, whoever runs it, until Ctrl-C.", offline=True
    ),
    "runs": Entry("List runs, the newest first.", offline=True),
    "show": Entry(
        "Show a run: its reason, pre-flight, verdict, files, and what its baseline read.",
        numbers=True,
        offline=True,
    ),
    "plot": Entry(
        "Plot runs: normalised, averaged with error bands, up against down, compared.",
        numbers=True,
        offline=True,
    ),
    "compare": Entry(
        "Compare the baselines of two runs beyond each signal's tolerance, or within one run.",
        numbers=True,
        offline=True,
    ),
    "fit": Entry(
        "Fit the N2 series or an absorption edge to a run, with errors.", numbers=True, offline=True
    ),
    "rebin": Entry(
        "Bring the detectors of a run onto bins of energy: mean, count, standard error, time.",
        numbers=True,
    ),
    "export": Entry("Export one run, or the common spectrum of several.", numbers=True),
    "note": Entry(
        "Write a note about RUN into the logbook and the e-logs of the data directory.",
        numbers=True,
    ),
    "relocate": Entry("Register the runs of a data directory that was moved from OLD to NEW."),
    "outbox": Entry("Show what waits to be sent, and what was refused; with --retry send it."),
    "demo": Entry("Fly a simulated beamline over the N2 edge, through EPICS, Bluesky and Tiled."),
    "sim": Entry("Run a simulated beamline until Ctrl-C."),
    "serve": Entry("Serve the runs of a data directory to browsers and to Python, until Ctrl-C."),
    "replay": Entry("Put runs from the journal of a data directory into Tiled."),
    "repair": Entry(
        "Let other programs open the files of a scan that was killed. Doing it twice does no harm."
    ),
    "config": Entry(
        "Show the configuration that holds in this folder, and where each value comes from.",
        offline=True,
    ),
    "new-beamline": Entry(
        "Write a package for the beamline NAME: devices, plans, tests, configuration, README.",
        offline=True,
    ),
    "check": Entry(
        "Make acceptance tests of devices; they are only read, with --move also moved and put back."
    ),
    "bench": Entry("Measure speed and accuracy on this machine, beside the peers."),
}
"""All commands, in the order in which they are listed."""


class LazyGroup(TyperGroup):
    """A group whose commands are imported when one of them is called."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.commands: dict[str, Any] = {
            name: TyperCommand(name, help=entry.help) for name, entry in COMMANDS.items()
        }
        self._loaded: set[str] = set()

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the table."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command that is called."""
        if args and args[0] in COMMANDS and args[0] not in self._loaded:
            self.commands[args[0]] = load(args[0])
            self._loaded.add(args[0])
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """Import one command."""
    entry = COMMANDS[name]
    if not entry.offline:
        # Before all others: what is slow to import late.
        import glidepath.epics_libraries_first  # noqa: F401

    python_name = name.replace("-", "_")
    found = getattr(import_module(f".{entry.module or python_name}", __package__), python_name)
    if isinstance(found, typer.Typer):
        group = get_command(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"], "ignore_unknown_options": entry.numbers}
    alone.command(name, context_settings=settings)(found)
    return get_command(alone)


app = typer.Typer(
    cls=LazyGroup,
    name="glidepath",
    help="Continuous energy scans: fly the photon energy, record what the detectors saw.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line, and leave at once: taking Python apart takes half a second."""
    try:
        app()
    except SystemExit as ended:
        _leave(ended)


def _leave(ended: SystemExit) -> None:
    """End this process with what a command said, when what is to be put away is put away.

    Raises
    ------
    SystemExit
        If threads still work that Python would wait for.
    """
    others = [thread for thread in threading.enumerate() if not thread.daemon]
    if len(others) > 1 or not isinstance(ended.code, int | None):
        raise ended
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(ended.code or 0)


__all__ = ["COMMANDS", "app", "main"]
