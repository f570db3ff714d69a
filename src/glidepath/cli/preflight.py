"""`glidepath preflight`: what a scan would do and whether it can, without moving anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .asked import (
    PassesOption,
    RegionOption,
    StartArgument,
    StopArgument,
    ThereAndBackOption,
    VelocityArgument,
    asked,
)
from .errors import BAD_INPUT, spoken
from .serve import DataOption

LISTENING = 1.0
"""Seconds to listen to all channels for the clocks of their servers."""


def preflight(
    axis: Annotated[str, typer.Argument(help="Device to fly, such as energy.")],
    start: StartArgument = None,
    stop: StopArgument = None,
    velocity: VelocityArgument = None,
    region: RegionOption = None,
    passes: PassesOption = 1,
    there_and_back: ThereAndBackOption = False,
    detectors: Annotated[
        str | None,
        typer.Option(help="Devices to sample, separated by commas. Default: the beamline's."),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(help="Length of a row in s; detectors are set to it. Default: as they are."),
    ] = None,
    beamline: Annotated[
        str, typer.Option(help="Python module of the beamline.")
    ] = "glidepath.beamlines.simulated",
    data: DataOption = Path("glidepath-data"),
    plot: Annotated[
        Path | None,
        typer.Option(help="PNG to write: energy, gap and predicted mismatch against time."),
    ] = None,
) -> None:
    """Say what flying AXIS would do, and every reason not to; exit status 2 if there is one."""
    from glidepath.flyers import flight_for
    from glidepath.plans import inspect
    from glidepath.trajectory import with_clocks

    from .report import print_preflight
    from .session import Session

    console = Console(highlight=False)
    with spoken():
        trajectory = asked(start, stop, velocity, region, passes, there_and_back)
        with Session(beamline, data) as session:
            names = session.beamline.detectors
            if detectors is not None:
                names = tuple(name.strip() for name in detectors.split(",") if name.strip())
            (moved,) = session.devices([axis])
            sampled = session.devices(names)
            flight = flight_for(moved)
            report = session.call(lambda: inspect(sampled, moved, flight, trajectory, period))
            clocks = session.call(lambda: _listen([moved, *sampled]))
        report = with_clocks(report, clocks)
        print_preflight(console, report)
        if plot is not None:
            from glidepath.export import save_preflight

            save_preflight(plot, report)
            console.print(f"Picture: {plot}", soft_wrap=True)
        raise typer.Exit(0 if report.passed else BAD_INPUT)


async def _listen(devices: Sequence[Any]) -> dict[str, float]:
    from glidepath.flyers import clock_offsets

    channels = [channel for device in devices for channel in await device.channels()]
    return await clock_offsets(channels, LISTENING)


__all__ = ["preflight"]
