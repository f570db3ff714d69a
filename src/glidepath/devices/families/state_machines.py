"""The states of the generic devices as a table, and the pictures of them in the documentation.

Run as a module, it draws them: ``python -m glidepath.devices.families.state_machines FOLDER``.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glidepath.devices.generic.states import CLOSED, ERROR, MOVING, OPEN

__all__ = ["MACHINES", "StateMachine", "Transition", "draw"]

Place = tuple[float, float]


@dataclass(frozen=True)
class Transition:
    """One way from a state to another.

    Attributes
    ----------
    begin, end
        States.
    cause
        What makes the device go this way.
    bend
        How much its arrow is curved; its sign says to which side.
    along
        Where on the arrow the cause stands: 0 at its begin, 1 at its end.
    """

    begin: str
    end: str
    cause: str
    bend: float = 0.0
    along: float = 0.5


@dataclass(frozen=True)
class StateMachine:
    """The states of a kind of device, and the ways between them.

    Attributes
    ----------
    title
        The classes that it is of.
    states
        State -> where it stands in the picture, in columns and rows.
    transitions
        The ways.
    """

    title: str
    states: Mapping[str, Place]
    transitions: tuple[Transition, ...]

    def ways(self) -> set[tuple[str, str]]:
        """Return the pairs of states between which there is a way."""
        return {(way.begin, way.end) for way in self.transitions}


MACHINES: Final[Mapping[str, StateMachine]] = {
    "toggle_device": StateMachine(
        "ToggleDevice: valve, photon shutter",
        {CLOSED: (0, 0), MOVING: (2, 0), OPEN: (4, 0), ERROR: (2, -2)},
        (
            Transition(CLOSED, MOVING, "pulse", -0.25),
            Transition(MOVING, OPEN, "arrives", -0.25),
            Transition(OPEN, MOVING, "pulse, interlock", -0.25),
            Transition(MOVING, CLOSED, "arrives", -0.25),
            Transition(MOVING, ERROR, "fault", -0.25, 0.35),
            Transition(ERROR, MOVING, "repaired", -0.25, 0.35),
            Transition(OPEN, ERROR, "switch fault", -0.25),
            Transition(CLOSED, ERROR, "switch fault", 0.25),
            Transition(ERROR, OPEN, "repaired", -0.05, 0.6),
            Transition(ERROR, CLOSED, "repaired", 0.05, 0.6),
        ),
    ),
    "command_device": StateMachine(
        "CommandDevice: beam shutter",
        {CLOSED: (0, 0), MOVING: (2, 0), OPEN: (4, 0), ERROR: (2, -2)},
        (
            Transition(CLOSED, MOVING, "open, with all permits", -0.25),
            Transition(MOVING, OPEN, "arrives", -0.25),
            Transition(OPEN, MOVING, "close, or a permit is lost", -0.25),
            Transition(MOVING, CLOSED, "arrives", -0.25),
            Transition(MOVING, ERROR, "both switches", -0.25, 0.35),
            Transition(ERROR, MOVING, "reset", -0.25, 0.35),
            Transition(OPEN, ERROR, "both switches", -0.25),
            Transition(CLOSED, ERROR, "both switches", 0.25),
            Transition(ERROR, OPEN, "reset", -0.05, 0.6),
            Transition(ERROR, CLOSED, "reset", 0.05, 0.6),
        ),
    ),
    "status_axis": StateMachine(
        "StatusAxis: aperture unit, pinholes, mirror, exit slit",
        {"standing": (0, 0), "started": (2, 0), "arriving": (4, 0), "failed": (2, -1.6)},
        (
            Transition("standing", "started", "setpoint"),
            Transition("started", "arriving", "status: done"),
            Transition("arriving", "standing", "readback is there", 0.4),
            Transition("standing", "failed", "never starts", 0.15),
            Transition("started", "failed", "time is over, stopped"),
            Transition("arriving", "failed", "stops short", -0.15),
        ),
    ),
    "compared_axis": StateMachine(
        "ComparedAxis: slits, filters, power converter, kicker",
        {"standing": (0, 0), "moving": (2, 0), "settling": (4, 0), "failed": (2, -1.6)},
        (
            Transition("standing", "moving", "setpoint"),
            Transition("moving", "settling", "within tolerance", -0.2),
            Transition("settling", "moving", "leaves it", -0.2),
            Transition("settling", "standing", "stayed long enough", 0.45),
            Transition("moving", "failed", "time is over, stopped"),
        ),
    ),
    "pose": StateMachine(
        "Pose: mirror on a hexapod",
        {"standing": (0, 0), "collecting": (2, 0), "running": (4, 0), "failed": (2, -1.6)},
        (
            Transition("standing", "collecting", "first setpoint"),
            Transition("collecting", "running", "start"),
            Transition("running", "standing", "all six are there", 0.4),
            Transition("collecting", "failed", "does not start"),
            Transition("running", "failed", "stops short, aborted", -0.15),
        ),
    ),
    "resource_lock": StateMachine(
        "ResourceLock: lock",
        {"free": (0, 0), "ours": (2.2, 0.8), "of somebody else": (2.2, -0.8)},
        (
            Transition("free", "ours", "we ask", -0.15),
            Transition("ours", "free", "released", -0.15),
            Transition("free", "of somebody else", "they ask", -0.15),
            Transition("of somebody else", "free", "released", -0.15),
            Transition("ours", "of somebody else", "cleared and taken", -0.3),
        ),
    ),
    "multiplexer": StateMachine(
        "Multiplexer",
        {"off": (0, 0), "switching": (2, 0), "selected": (4, 0), "failed": (2, -1.6)},
        (
            Transition("off", "switching", "choose, at zero current", -0.2),
            Transition("switching", "selected", "name shows it", -0.2),
            Transition("selected", "switching", "off, at zero current", -0.2),
            Transition("switching", "off", "name shows it", -0.2),
            Transition("switching", "failed", "time is over"),
        ),
    ),
}
"""File name of its picture -> the machine."""

SIZE: Final = 1.35
"""Inches between two columns of states."""

INK, PAPER, FAULT = "#1a1a1a", "#ffffff", "#b3261e"
"""Colours: readable on a light and, by the paper under it, on a dark page."""


def draw(machine: StateMachine, file: Path) -> None:
    """Draw a machine into an SVG file, in which its texts are texts."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = [x for x, _ in machine.states.values()]
    rows = [y for _, y in machine.states.values()]
    wide, high = max(columns) - min(columns) + 1.6, max(rows) - min(rows) + 2.1
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "glidepath",
        "font.family": "sans-serif",
    }
    with matplotlib.rc_context(settings):
        figure = Figure((SIZE * wide, SIZE * high), facecolor=PAPER)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(min(columns) - 0.8, max(columns) + 0.8)
        axes.set_ylim(min(rows) - 0.6, max(rows) + 1.5)
        axes.axis("off")
        axes.text(min(columns) - 0.7, max(rows) + 1.3, machine.title, weight="bold", va="center")
        for way in machine.transitions:
            _draw_way(axes, machine, way)
        for name, place in machine.states.items():
            _draw_state(axes, name, place)
        figure.savefig(file, format="svg", metadata={"Date": None})


def _draw_state(axes: Any, name: str, place: Place) -> None:
    bad = name in (ERROR, "failed")
    axes.text(
        *place,
        name,
        ha="center",
        va="center",
        color=FAULT if bad else INK,
        zorder=3,
        bbox={
            "boxstyle": "round,pad=0.5",
            "facecolor": PAPER,
            "edgecolor": FAULT if bad else INK,
        },
    )


def _draw_way(axes: Any, machine: StateMachine, way: Transition) -> None:
    begin, end = machine.states[way.begin], machine.states[way.end]
    axes.annotate(
        "",
        zorder=1,
        xy=end,
        xytext=begin,
        arrowprops={
            "arrowstyle": "-|>",
            "connectionstyle": f"arc3,rad={way.bend}",
            "color": INK,
            "shrinkA": 22,
            "shrinkB": 22,
        },
    )
    # The control point of matplotlib's arc3, and Bezier's quadratic curve with it.
    across = (end[1] - begin[1], begin[0] - end[0])
    t, there = way.along, zip(begin, end, across, strict=True)
    place = [
        (1 - t) ** 2 * a + 2 * t * (1 - t) * ((a + b) / 2 + way.bend * c) + t**2 * b
        for a, b, c in there
    ]
    axes.text(
        *place,
        way.cause,
        fontsize=8,
        ha="center",
        va="center",
        color=INK,
        zorder=2,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"},
    )


def main() -> None:
    """Draw all machines into the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, machine in MACHINES.items():
        draw(machine, folder / f"{name}.svg")


if __name__ == "__main__":
    main()
