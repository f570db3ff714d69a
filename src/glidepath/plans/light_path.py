"""What must be open for light to reach the sample: looked at before a scan, opened by it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from glidepath.sentences import as_connection_error
from glidepath.trajectory import PreflightError

from .inspection import Inspection
from .messages import done

OPEN, CLOSED = "open", "closed"


def check_light_path(shutter: Any, path: Iterable[Any]) -> None:
    """Refuse (PreflightError) a shutter that cannot be set, and what says nothing of the beam."""
    if shutter is not None and not callable(getattr(shutter, "set", None)):
        raise PreflightError(
            f"{_name(shutter)} cannot be the shutter of a scan, for it cannot be set to {OPEN!r} "
            f"and {CLOSED!r}; give a valve or a shutter of glidepath.devices."
        )
    for device in path:
        if not callable(getattr(device, "objection", None)):
            raise PreflightError(
                f"{_name(device)} cannot be in the path of a scan, for it does not say whether the "
                "beam gets through; give valves and shutters of glidepath.devices."
            )


async def with_light_path(inspection: Inspection, shutter: Any, path: Sequence[Any]) -> Inspection:
    """Return what the pre-flight found, with what is closed in the path of the beam.

    The shutter itself may be closed: the scan opens it. In fault it is an objection.
    """
    found = []
    with as_connection_error("The scan cannot begin: "):
        for device in path:
            if device is not shutter and (objection := await device.objection()):
                found.append(objection)
        if callable(state := getattr(shutter, "state", None)) and await state() == "error":
            found.append(f"{_name(shutter)} is in fault, so that it cannot be opened.")
    report = inspection.report
    return replace(inspection, report=replace(report, objections=(*report.objections, *found)))


async def bring(shutter: Any, state: str) -> None:
    """Open or close a shutter, and wait for it; how long is the shutter's own bound.

    Raises
    ------
    Exception
        What its status has failed of.
    """
    status = shutter.set(state)
    try:
        await done(status)
    except BaseException:
        # Whoever ends the waiting will want to close it, which must not wait for its opening.
        if callable(getattr(shutter, "stop", None)):
            await shutter.stop(success=True)
        raise
    if (error := status.exception()) is not None:
        raise error


def _name(device: Any) -> str:
    return str(getattr(device, "name", None) or repr(device))


__all__ = ["CLOSED", "OPEN", "bring", "check_light_path", "with_light_path"]
