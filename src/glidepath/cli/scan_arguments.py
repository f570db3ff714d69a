"""The arguments of a scan on the command line: a range or regions, how often, and which rows."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from glidepath.trajectory import Region, Trajectory


def _number(text: str) -> float:
    """Return the number that was typed; the text is said where it is none (BadParameter)."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a number; give it without a unit, such as 400."
        ) from None


StartArgument = Annotated[
    float | None,
    typer.Argument(help="Begin of the range, in the axis's unit (eV).", parser=_number),
]
StopArgument = Annotated[
    float | None, typer.Argument(help="End of the range; may be below START.", parser=_number)
]
VelocityArgument = Annotated[
    float | None, typer.Argument(help="Units per second (eV/s).", parser=_number)
]
RegionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--region",
        metavar="START:STOP:VELOCITY[:PERIOD]",
        help="A region of a spectrum, instead of START STOP VELOCITY; may be given several times, "
        "such as --region 370:395:2 --region 395:405:0.2.",
    ),
]
PassesOption = Annotated[int, typer.Option(help="How often.")]
DetectorsOption = Annotated[
    str | None,
    typer.Option(help="Devices to read, separated by commas. Default: the beamline's."),
]
SilentOption = Annotated[
    str | None,
    typer.Option(
        help="Detectors that are recorded beside those and not drawn, separated by commas; '' for "
        "none. Default: the beamline's SILENT."
    ),
]
PeriodOption = Annotated[
    float | None,
    typer.Option(
        help="Length of a row in s; detectors are set to it. Default: as they are. With "
        "--trigger: seconds from trigger to trigger."
    ),
]
TriggerOption = Annotated[
    str | None,
    typer.Option(
        help="Trigger box, or detector that goes by its own clock. With --step or --period."
    ),
]
StepOption = Annotated[
    float | None,
    typer.Option(help="With --trigger: distance of the triggers, in the axis's unit (eV)."),
]
ExposureOption = Annotated[
    float | None,
    typer.Option(help="With --trigger: an exposure in s. Default: as long as possible."),
]
ShutterOption = Annotated[
    str | None,
    typer.Option(help="Shutter that is open while the axis flies, and closed when the scan ends."),
]
PathOption = Annotated[
    str | None,
    typer.Option(
        help="What must let the beam through, separated by commas; '' for nothing. Default: the "
        "beamline's PATH."
    ),
]
ThereAndBackOption = Annotated[
    bool, typer.Option("--there-and-back", help="Every second pass goes backwards.")
]


def trajectory_from(
    start: float | None,
    stop: float | None,
    velocity: float | None,
    regions: Sequence[str] | None,
    passes: int = 1,
    there_and_back: bool = False,
) -> Trajectory:
    """Return the trajectory that the words of a command describe.

    Raises
    ------
    ValueError
        In one sentence, if they describe none.
    """
    if regions and start is not None:
        raise ValueError("Give either START STOP VELOCITY or --region, not both.")
    if regions:
        flown = [_region(text) for text in regions]
    elif start is None or stop is None or velocity is None:
        raise ValueError(
            "A scan needs START STOP VELOCITY, such as 370 470 2.5, or --region 370:470:2.5."
        )
    else:
        flown = [Region(start, stop, velocity)]
    return Trajectory(tuple(flown), passes, there_and_back)


def _region(text: str) -> Region:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (3, 4):
        raise ValueError(
            f"{text!r} is no region; give START:STOP:VELOCITY or START:STOP:VELOCITY:PERIOD in eV, "
            "eV/s and s, such as 395:405:0.2."
        )
    return Region(*numbers)


def row_arguments(
    box: Any, step: float | None, period: float | None, exposure: float | None
) -> dict[str, Any]:
    """Return the arguments of a plan that say which rows it makes: ``period`` or ``triggers``.

    Raises
    ------
    ValueError
        In one sentence, if the options do not go together.
    """
    if box is not None:
        from glidepath.flyers import Triggers

        return {"triggers": Triggers(box, step=step, period=period, exposure=exposure)}
    if step is not None or exposure is not None:
        raise ValueError(
            "Only triggers come each step and have an exposure: name what makes them with "
            "--trigger, or give a --period."
        )
    return {"period": period}


def light_path_arguments(session: Any, shutter: str | None, path: str | None) -> dict[str, Any]:
    """Return the arguments of a plan that say what the beam goes through, connected.

    Parameters
    ----------
    session
        Where the devices are.
    shutter, path
        What `ShutterOption` and `PathOption` give.

    Raises
    ------
    ValueError
        If there is no such device.
    ConnectionError
        If a server does not answer.
    """
    names = session.beamline.path if path is None else names_in(path)
    return {
        "shutter": None if shutter is None else session.devices([shutter])[0],
        "path": session.devices(names),
    }


def detector_names(detectors: str | None, axis: str, default: Sequence[str]) -> list[str]:
    """Return the names of the detectors that a command is to read.

    Parameters
    ----------
    detectors
        What `DetectorsOption` gives.
    axis
        Name of the device that flies.
    default
        The beamline's detectors.

    Raises
    ------
    ValueError
        In one sentence, if the option names no detector, or the axis as one.
    """
    if detectors is None:
        return list(default)
    names = names_in(detectors)
    if not names:
        raise ValueError("--detectors names no device; give at least one, such as mesh,sample.")
    if axis in names:
        raise ValueError(
            f"{axis} flies and is recorded in any case; leave it out of the --detectors."
        )
    return names


def names_in(text: str) -> list[str]:
    """Return the names in a list that is separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


__all__ = [
    "DetectorsOption",
    "ExposureOption",
    "PassesOption",
    "PathOption",
    "PeriodOption",
    "RegionOption",
    "ShutterOption",
    "SilentOption",
    "StartArgument",
    "StepOption",
    "StopArgument",
    "ThereAndBackOption",
    "TriggerOption",
    "VelocityArgument",
    "detector_names",
    "light_path_arguments",
    "names_in",
    "row_arguments",
    "trajectory_from",
]
