"""`glidepath config`: what holds here, and where each value comes from."""

import typer
from rich.console import Console
from rich.table import Table

from .errors import errors_as_sentences


def config() -> None:
    """Show the configuration that holds in this folder, and where each value comes from.

    The file is glidepath.toml, in this folder or one above it. Example:

        beamline = "my_beamline"

        data = "/data/2026"

        mains_frequency = 50

        [experiment]

        facility = "BESSY II"
    """
    from glidepath.configuration import FILE_NAME, SETTINGS, load_configuration

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        found = load_configuration()
        table = Table(box=None, title_justify="left")
        table.add_column("setting", no_wrap=True, min_width=max(len(s.name) for s in SETTINGS))
        for name in ("value", "comes from", "meaning"):
            table.add_column(name, overflow="fold")
        for setting in SETTINGS:
            value = getattr(found, setting.name)
            shown = "" if value is None else str(value)
            table.add_row(setting.name, shown, found.origins[setting.name], setting.meaning)
        console.print(table)
        for name, value in found.experiment.items():
            console.print(f"experiment.{name} = {value!r}", soft_wrap=True, markup=False)
        if found.file is None:
            console.print(f"There is no {FILE_NAME} in this folder or above it.")
        else:
            console.print(f"File: {found.file}", soft_wrap=True, markup=False)
        raise typer.Exit(0)


__all__ = ["config"]
