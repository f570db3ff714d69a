"""`glidepath n2`: is the energy right, and the resolution? The N2 lines say so."""

from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import FAILED, errors_as_sentences
from .options import BeamlineOption, DataOption, TiledOption, open_session
from .report import print_end
from .scan_arguments import DetectorsOption, PassesOption, ThereAndBackOption, names_in


def n2(
    axis: Annotated[str, typer.Option(help="Energy axis to fly.")] = "energy",
    detectors: DetectorsOption = None,
    shift: Annotated[
        float | None, typer.Option(help="Largest distance of the first line from 400.88 eV (eV).")
    ] = None,
    power: Annotated[
        float | None, typer.Option(help="Lowest resolving power. Default of both: 0.05 and 4000.")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Largest Gaussian width, FWHM (eV).")] = None,
    valley: Annotated[
        float | None, typer.Option(help="Largest height of first valley over third peak.")
    ] = None,
    velocity: Annotated[float, typer.Option(help="Speed (eV/s).")] = 0.5,
    period: Annotated[float, typer.Option(help="Length of a row (s).")] = 0.02,
    passes: PassesOption = 1,
    there_and_back: ThereAndBackOption = False,
    beamline: BeamlineOption = None,
    data: DataOption = None,
    tiled: TiledOption = None,
) -> None:
    """Fly the N2 lines and judge energy scale and resolution; exit status 1 if it did not pass.

    The signal is the last detector, divided by the beamline's I0; of --detectors, by the first.
    """
    from glidepath.live import LiveView
    from glidepath.physics import N2Limits, N2Outcome
    from glidepath.plans import n2_check
    from glidepath.session.interrupts import late_interrupts_ignored

    console = Console(highlight=False, emoji=False)
    with (
        errors_as_sentences(),
        # A check is of the spectrum: an injection that the ring tells of would leave lines out.
        open_session(beamline, data, tiled=tiled, silent=False, left_behind=True) as session,
    ):
        given = (shift, power, width, valley)
        limits = N2Limits() if given == (None,) * 4 else N2Limits(*given)
        names, reference = names_in(detectors or ""), None
        if detectors is None:
            names, reference = _spectrum(session.beamline), session.beamline.reference
        (flown,) = session.devices([axis])
        plan = n2_check(
            session.devices(names),
            flown,
            limits=limits,
            reference=reference,
            velocity=velocity,
            period=period,
            passes=passes,
            there_and_back=there_and_back,
        )
        outcomes: list[str] = []

        def look(_: str, event: dict[str, Any]) -> None:
            if "n2_check" in event["data"]:
                outcomes.append(event["data"]["outcome"])

        session.RE.subscribe(look, "event")
        session.check_catalogue()
        with late_interrupts_ignored():
            with LiveView(session.follower, console):
                stopped = session.run(plan)
            print_end(console, session.follower.start, stopped)
        if outcomes != [N2Outcome.PASSED]:
            raise typer.Exit(FAILED)


def _spectrum(beamline: Any) -> list[str]:
    """Return the detectors that make a spectrum: those that are drawn."""
    return [name for name in beamline.detectors if name not in beamline.silent]


__all__ = ["n2"]
