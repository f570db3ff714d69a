"""`glidepath shell`: a beamline at a prompt."""

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import errors_as_sentences
from .options import BeamlineOption, DataOption, TiledOption

if TYPE_CHECKING:
    from glidepath.simulation import SimulatedBeamline


def shell(
    sim: Annotated[
        bool, typer.Option("--sim", help="Start the simulated beamline with it.")
    ] = False,
    no_tiled: Annotated[
        bool, typer.Option("--no-tiled", help="Keep runs in the journal only.")
    ] = False,
    view: Annotated[
        str | None,
        typer.Option(help="How a running scan is shown: auto, terminal, matplotlib or none."),
    ] = None,
    beamline: BeamlineOption = None,
    data: DataOption = None,
    tiled: TiledOption = None,
) -> None:
    """Open IPython with a beamline's devices, plans and runs at hand.

    With --sim, one command gives a beamline to play with.
    """
    with errors_as_sentences(), ExitStack() as stack:
        if sim:
            from glidepath.configuration import SIMULATED

            # Before Channel Access is imported: it reads its addresses once.
            _start_simulation(stack)
            beamline = beamline or SIMULATED
        from glidepath.session import Session
        from glidepath.shell import start

        session = stack.enter_context(
            Session(
                beamline,
                data,
                tiled=tiled,
                catalogue=not no_tiled,
                live=view or True,
                # Who leaves the prompt waits neither for Tiled nor for exports.
                left_behind=True,
            )
        )
        start(session)


def _start_simulation(stack: ExitStack) -> None:
    """Start the simulated beamline; what not everybody uses comes up behind the prompt."""
    from glidepath.simulation import NOISE_OF_A_BEAMLINE, SimulatedBeamline

    simulated = stack.enter_context(
        SimulatedBeamline(detector_noise=NOISE_OF_A_BEAMLINE, later=True)
    )
    os.environ.update(simulated.environment)
    os.environ |= {"GLIDEPATH_VACUUM": "1", "GLIDEPATH_ACCELERATOR": "1"}
    rest = threading.Thread(target=_start_rest, args=(simulated,), name="simulation", daemon=True)
    rest.start()
    stack.callback(rest.join)


def _start_rest(simulated: "SimulatedBeamline") -> None:
    try:
        for name in ("vacuum", "accelerator"):
            simulated.start_also(name)
    except RuntimeError as error:
        typer.echo(f"glidepath: {error}", err=True)


__all__ = ["shell"]
