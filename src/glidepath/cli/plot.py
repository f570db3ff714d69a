"""`glidepath plot`: the spectra of runs, in the terminal, a window or a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from .errors import errors_as_sentences
from .options import DataOption, ReferenceOption, RunsArgument, SignalOption, stored_data


def plot(
    runs: RunsArgument = None,
    signal: SignalOption = None,
    reference: ReferenceOption = None,
    mode: Annotated[
        str,
        typer.Option(
            help="overlay, passes, average, up-down, difference or ratio; these last two are to "
            "the first run."
        ),
    ] = "overlay",
    derivative: Annotated[bool, typer.Option("--derivative", help="Show the slopes.")] = False,
    width: Annotated[
        float | None, typer.Option(help="Of the bins, in the unit of the axis. Default: a row's.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="PNG, SVG or PDF to write.")
    ] = None,
    window: Annotated[bool, typer.Option("--window", help="Open a window.")] = False,
    data: DataOption = None,
) -> None:
    """Plot runs: normalised, averaged with error bands, up against down, compared.

    Examples: glidepath plot; glidepath plot 12 13 --mode ratio -o ratio.png; glidepath plot -3:
    """
    from glidepath.lookback import StoredRun, spectra_of
    from glidepath.lookback.figures import draw, draw_in_terminal

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        asked = runs or ["-1"]
        root = stored_data(data, asked)
        chosen = [run for which in asked for run in StoredRun.find(root, which)]
        spectra = spectra_of(
            chosen,
            mode=mode,
            signal=signal,
            reference=reference,
            derivative=derivative,
            width=width,
        )
        if output is not None:
            draw(spectra, output)
            console.print(f"Picture: {output}", soft_wrap=True, markup=False)
        if window:
            _show_window(spectra)
        if output is None and not window:
            drawing = draw_in_terminal(spectra, min(console.width, 120))
            console.print(Text.from_ansi(drawing))


def _show_window(spectra: list) -> None:
    import matplotlib.pyplot as plt

    from glidepath.lookback.figures import draw

    if plt.get_backend().lower() == "agg":
        raise ValueError(
            "There is no display for a window; write a picture with --output, or plot in the "
            "terminal."
        )
    figure = draw(spectra)
    manager = plt.figure().canvas.manager
    if manager is not None:
        manager.canvas.figure = figure
        figure.set_canvas(manager.canvas)
    plt.show()


__all__ = ["plot"]
