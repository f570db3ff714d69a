"""Short commands for the prompt: ``%wa``, ``%fly``, ``%pre``, ``%last``, ``%why``, ``%ct``."""

import re
from collections.abc import Sequence
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glidepath.lookback import StoredRun, spectra_of
from glidepath.lookback.fits import fit_n2_of
from glidepath.sentences import as_sentence
from glidepath.session import Session
from glidepath.session.positions import Position, positions_of
from glidepath.trajectory import Region, Trajectory

USAGE = "%{name} AXIS START STOP VELOCITY [PERIOD] [DETECTOR ...], such as %{name} energy 400 402 2"

WAYS_ON = "RE.resume() goes on, RE.stop() ends it as a success, RE.abort() ends it as aborted."
"""What can be done with a scan that is paused."""


@magics_class
class ScanMagics(Magics):
    """The magics of one session.

    Parameters
    ----------
    shell
        The IPython shell.
    session
        What they work on.
    """

    def __init__(self, shell: Any, session: Session) -> None:
        super().__init__(shell)
        self._session = session

    @property
    def _console(self) -> Console:
        # Made anew: what is captured, and how wide the terminal is, may have changed.
        return Console(highlight=False, emoji=False)

    @line_magic
    def wa(self, line: str) -> None:
        """Say where the axes are, between which limits, and whether they move: %wa [AXIS ...]."""
        names = line.split() or list(self._session.beamline.axes)
        for name in line.split():
            if name not in self._session.beamline.devices:
                # Which says that there is none.
                self._session.devices([name])
        complaints = self._session.try_to_connect(names)
        axes = {name: self._session.beamline.devices[name] for name in names}
        usable = {name: axis for name, axis in axes.items() if name not in complaints}
        found = self._session.call(lambda: positions_of(usable))
        found += [Position(name, trouble=text) for name, text in complaints.items()]
        self._console.print(_positions(found, self._console.width))
        for at in found:
            if at.objection:
                self._console.print(at.objection, style="yellow", markup=False)

    @line_magic
    def fly(self, line: str) -> Any:
        """Fly an axis: %fly AXIS START STOP VELOCITY [PERIOD] [DETECTOR ...]."""
        from glidepath.plans import flyscan

        axis, numbers, detectors = self._asked("fly", line)
        period = numbers[3] if len(numbers) > 3 else None
        path = self._session.light_path
        return self._session.RE(flyscan(detectors, axis, *numbers[:3], period=period, path=path))

    @line_magic
    def pre(self, line: str) -> None:
        """Say what a flight would do, without moving: the arguments are those of %fly."""
        from glidepath.plans import inspect

        axis, numbers, detectors = self._asked("pre", line)
        period = numbers[3] if len(numbers) > 3 else None
        trajectory = Trajectory((Region(*numbers[:3]),))
        path = self._session.light_path
        recorded = self._session.with_silent(detectors, axis)
        report = self._session.call(lambda: inspect(recorded, axis, trajectory, period, path=path))
        table = Table(show_header=False, box=None)
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for label, text in report.lines():
            table.add_row(label, text, style="red" if label == "Objection" else None)
        self._console.print(table)

    @line_magic
    def last(self, line: str) -> StoredRun:
        """Plot the newest run, and fit it where the N2 series is in it: %last [SIGNAL or RUN]."""
        run, signal = self._session.last, line.strip() or None
        if signal is not None and re.fullmatch(r"-?\d+", signal) and signal not in run.names:
            run, signal = self._session.runs[signal], None
        spectra = spectra_of([run], signal=signal)
        self._draw(spectra, repr(run))
        try:
            fitted = fit_n2_of(run, signal)
        except ValueError:
            pass
        else:
            for text in fitted.lines():
                self._console.print(text)
        return run

    @line_magic
    def why(self, line: str) -> None:
        """Say why a run ended as it did, and what its rows carry: %why [RUN]."""
        run = self._session.runs[line.strip()] if line.strip() else self._session.last
        self._console.print(repr(run), style="bold", markup=False)
        reason = str(run.stop.get("reason") or run.run.reason or "No reason was recorded")
        own = run.run.uid == self._session.follower.start.get("uid")
        if own and not run.stop and self._session.RE.state == "paused":
            reason = f"It is paused after {run.run.rows} rows: {WAYS_ON}"
        self._console.print(as_sentence(reason), markup=False)
        verdict = run.verdict()
        for name, count in (verdict.get("flagged") or {}).items():
            if count:
                meaning = _meaning(name)
                self._console.print(f"{count} rows {name}: {meaning}", markup=False)
        for interruption in verdict.get("interruptions") or []:
            self._console.print(f"Interrupted: {interruption}", markup=False)

    @line_magic
    def ct(self, line: str) -> None:
        """Read detectors once, now, without a run: %ct [DETECTOR ...]."""
        names = line.split() or list(self._session.beamline.detectors)
        devices: list[Any] = list(self._session.devices(names))

        async def read() -> list[tuple[dict[str, Any], dict[str, Any]]]:
            return [(await device.read(), await device.describe()) for device in devices]

        table = Table("signal", "value", "unit", box=None)
        for readings, described in self._session.call(read):
            for name, reading in readings.items():
                value = reading["value"]
                shown = f"{value:.6g}" if isinstance(value, float) else str(value)
                table.add_row(name, shown, str(described[name].get("units") or ""))
        self._console.print(table)

    def _asked(self, name: str, line: str) -> tuple[Any, list[float], Sequence[Any]]:
        """Return axis, numbers and detectors of a line.

        Raises
        ------
        ValueError
            In a sentence, if they mean nothing.
        """
        words = line.split()
        numbers: list[float] = []
        while words[1 + len(numbers) :]:
            try:
                numbers.append(float(words[1 + len(numbers)]))
            except ValueError:
                break
        if not 3 <= len(numbers) <= 4:
            raise ValueError(f"Write {USAGE.format(name=name)}.")
        detectors = words[1 + len(numbers) :] or list(self._session.beamline.detectors)
        (axis,) = self._session.devices(words[:1])
        return axis, numbers, self._session.devices(detectors)

    def _draw(self, spectra: Any, title: str) -> None:
        from glidepath.live.view import in_notebook
        from glidepath.lookback.figures import draw, draw_in_terminal

        if in_notebook():
            from IPython.display import display

            display(draw(spectra, title=title))
        else:
            console = self._console
            drawing = draw_in_terminal(spectra, min(console.width, 100), 20)
            console.print(Text.from_ansi(drawing))


COMMON_WIDTH, SMALL_WIDTH = 80, 50
"""Characters in a line below which ``%wa`` leaves out limits and undulator, and setpoints too."""


def _positions(found: Sequence[Position], width: int) -> Table:
    """Return where axes are, with as many columns as fit whole into ``width`` characters."""
    left_out: set[str] = set()
    if width < COMMON_WIDTH:
        left_out |= {"limits", "undulator"}
    if width < SMALL_WIDTH:
        left_out |= {"setpoint"}
    table = Table(box=None, pad_edge=False)
    columns = ("axis", "readback", "setpoint", "unit", "limits", "state", "undulator")
    shown = [name for name in columns if name not in left_out]
    for name in shown:
        number = name in ("readback", "setpoint")
        table.add_column(
            name,
            justify="right" if number else "left",
            no_wrap=number or name == "axis",
            overflow="fold",
            min_width=max((len(f"{at.readback:.4f}") for at in found), default=0) if number else 0,
        )
    for at in found:
        limits = "none" if at.limits is None else f"{at.limits[0]:g} to {at.limits[1]:g}"
        row = {
            "axis": at.name,
            "readback": f"{at.readback:.4f}",
            "setpoint": f"{at.setpoint:.4f}",
            "unit": at.unit,
            "limits": limits,
            "state": "moving" if at.moving else "stands",
            "undulator": at.undulator,
        }
        if at.trouble:
            row = {"axis": at.name, "state": at.trouble}
        table.add_row(
            *(Text(row.get(name, "")) for name in shown), style="yellow" if at.trouble else ""
        )
    return table


def _meaning(bit: str) -> str:
    from glidepath.timeline.quality import Quality

    meanings = {
        Quality.HELD: "a channel had nothing new to say; its last value was kept",
        Quality.NO_DATA: "a channel was disconnected; it is NaN there",
        Quality.EXTRAPOLATED: "the scan ended before a readback's last update",
        Quality.PARTIAL: "a detector's exposures cover less than half of the row",
        Quality.OVERFLOW: "a detector was out of its range; it is NaN there",
        Quality.TOP_UP: "the ring was injected into",
        Quality.BEAM_LOST: "there was no beam",
        Quality.TRACKING: "the undulator was further from the axis than its bound",
        Quality.LATE: "a trigger or a frame came late",
        Quality.LOST_TRIGGER: "a trigger did not lead to a frame",
        Quality.LOST_UPDATES: "updates or frames were lost on the way",
        Quality.EXTRA: "a frame belongs to no trigger",
        Quality.AMBIGUOUS: "which frame belongs to the trigger cannot be said",
        Quality.CLOCK: "a server's clock was set during the scan",
        Quality.CHANGED: "an exposure was changed by hand during the scan",
    }
    return next((text for flag, text in meanings.items() if flag.name == bit), "see the user guide")


__all__ = ["WAYS_ON", "ScanMagics"]
