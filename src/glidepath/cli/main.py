"""Collects the commands; each lives in a file of its own and imports what it needs when it runs."""

import glidepath.early  # noqa: F401 (before all others)  # isort: skip

import typer

from glidepath import __version__

from .bench import bench
from .check import check
from .config import config
from .demo import demo
from .export import export
from .fly import fly
from .focus import focus
from .preflight import preflight
from .rebin import rebin
from .repair import repair
from .replay import replay
from .serve import serve
from .sim import sim

app = typer.Typer(
    name="glidepath",
    help="Continuous energy scans: fly the photon energy, record what the detectors saw.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
# A negative start or stop is a number, not an option.
app.command(context_settings={"ignore_unknown_options": True})(fly)
app.command(context_settings={"ignore_unknown_options": True})(preflight)
app.command(context_settings={"ignore_unknown_options": True})(focus)
app.command()(demo)
app.command()(sim)
app.command()(bench)
app.add_typer(check, name="check")
app.command()(serve)
app.command()(config)
app.command()(replay)
app.command()(repair)
app.command(context_settings={"ignore_unknown_options": True})(rebin)
app.command(context_settings={"ignore_unknown_options": True})(export)


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
    """Run the command line."""
    app()


__all__ = ["app", "main"]
