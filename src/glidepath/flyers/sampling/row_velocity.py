"""Whether the axis flew at the velocity that was planned, as the rows of a flight tell."""

from glidepath.flyers.motion.back_end import FlightError
from glidepath.flyers.motion.flown_velocity import FlownVelocity

from .rows import Columns


def add_rows(flown: FlownVelocity, axis: str, rows: Columns) -> None:
    """Let rows tell where the axis, whose column has that name, was."""
    # Where a readback was silent, a row begins and ends at the same place.
    moved = rows[f"{axis}_upper"] > rows[f"{axis}_lower"]
    flown.add(rows["region_number"], rows["sample_time"], rows[axis], moved)


def check_velocity(flown: FlownVelocity, axis: str) -> None:
    """Compare what was flown with what was planned.

    Raises
    ------
    FlightError
        If a region was flown at another velocity.
    """
    wrong = flown.wrong()
    if wrong is not None:
        region = wrong.region
        raise FlightError(
            f"{axis} was flown at {wrong.velocity:.3g} per second between "
            f"{region.start:g} and {region.stop:g}, but {wrong.planned} was planned: look for what "
            "limits its velocity (a base velocity, a speed limit), and fly at what it can do."
        )


__all__ = ["add_rows", "check_velocity"]
