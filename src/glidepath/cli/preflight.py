"""`glidepath preflight`: what a scan would do and whether it can, without moving anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import BAD_INPUT, errors_as_sentences
from .options import BeamlineOption, DataOption, open_session
from .scan_arguments import (
    DetectorsOption,
    ExposureOption,
    PassesOption,
    PathOption,
    PeriodOption,
    RegionOption,
    ShutterOption,
    SilentOption,
    StartArgument,
    StepOption,
    StopArgument,
    ThereAndBackOption,
    TriggerOption,
    VelocityArgument,
    detector_names,
    light_path_arguments,
    names_in,
    row_arguments,
    trajectory_from,
)

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
    detectors: DetectorsOption = None,
    silent: SilentOption = None,
    period: PeriodOption = None,
    trigger: TriggerOption = None,
    step: StepOption = None,
    exposure: ExposureOption = None,
    shutter: ShutterOption = None,
    path: PathOption = None,
    beamline: BeamlineOption = None,
    data: DataOption = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="PNG to write: energy, gap and predicted mismatch against time."),
    ] = None,
) -> None:
    """Say what flying AXIS would do, and every reason not to; exit status 2 if there is one."""
    from glidepath.plans import inspect
    from glidepath.trajectory import with_clocks

    from .report import print_preflight

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        trajectory = trajectory_from(start, stop, velocity, region, passes, there_and_back)
        with open_session(beamline, data, catalogue=False) as session:
            names = detector_names(detectors, axis, session.beamline.detectors)
            if silent is not None:
                session.silent = names_in(silent)
            (moved,) = session.devices([axis])
            sampled = session.with_silent(session.devices(names), moved)
            box = session.devices([trigger])[0] if trigger is not None else None
            rows = row_arguments(box, step, period, exposure)
            light = light_path_arguments(session, shutter, path)
            report = session.call(lambda: inspect(sampled, moved, trajectory, **rows, **light))
            clocks = session.call(lambda: _listen([moved, *sampled]))
        report = with_clocks(report, clocks)
        print_preflight(console, report)
        if plot is not None:
            from glidepath.pictures import save_preflight

            save_preflight(plot, report)
            console.print(f"Picture: {plot}", soft_wrap=True)
        raise typer.Exit(0 if report.passed else BAD_INPUT)


async def _listen(devices: Sequence[Any]) -> dict[str, float]:
    from glidepath.devices.sampled import channels_for
    from glidepath.flyers import clock_offsets

    channels = [channel for device in devices for channel in await channels_for(device)]
    return await clock_offsets(channels, LISTENING)


__all__ = ["preflight"]
