"""`glidepath shell`: a beamline at a prompt."""

import os
from contextlib import ExitStack
from typing import Annotated

import typer

from .errors import errors_as_sentences
from .options import BeamlineOption, DataOption, TiledOption


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
            from glidepath.simulation import NOISE_OF_A_BEAMLINE, SimulatedBeamline

            # Before Channel Access is imported: it reads its addresses once.
            simulated = stack.enter_context(SimulatedBeamline(detector_noise=NOISE_OF_A_BEAMLINE))
            os.environ.update(simulated.environment)
            os.environ["GLIDEPATH_PREFIX"] = simulated.settings.prefix
            beamline = beamline or SIMULATED
        from glidepath.session import Session
        from glidepath.shell import start

        session = stack.enter_context(
            Session(beamline, data, tiled=tiled, catalogue=not no_tiled, live=view or True)
        )
        start(session)


__all__ = ["shell"]
