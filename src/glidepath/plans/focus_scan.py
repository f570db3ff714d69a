"""Find the focus of a beam: its width on a camera against the position of a motor."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Readable
from numpy.typing import NDArray

from glidepath.detectors import Camera
from glidepath.physics import FocusError, FocusFit, fit_focus
from glidepath.storage import read_columns
from glidepath.timeline import good_rows

from .findings import Finding, Found, Item, with_findings
from .flyscan import flyscan
from .messages import MsgGenerator, wait_for
from .names import listed

FEWEST = 5
"""Positions that a fit needs."""

WIDTHS = ("fwhm_x", "fwhm_y")
"""What is smallest at the focus."""

_log = logging.getLogger("glidepath")


def focus_scan(
    detectors: Sequence[Readable[Any]],
    motor: Readable[Any],
    start: float,
    stop: float,
    step: float,
    *,
    fly: bool = False,
    velocity: float | None = None,
    period: float | None = None,
    move: bool = False,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Scan ``motor`` and find where the beam on a camera is smallest.

    A hyperbola is fitted to the FWHM along x, along y, and to their quadratic mean, which is the
    focus. The result is one event in the stream ``focus_fit`` and the reason in the stop
    document; the widths and centroids are in ``primary``. Where there is no minimum in the range,
    the reason says so, and nothing is moved.

    Parameters
    ----------
    detectors
        The first camera among them is looked at.
    motor
        Moves the focus.
    start, stop, step
        Range and step in the motor's unit; at least 5 positions.
    fly
        Fly over the range while the camera runs freely, instead of standing at each position.
    velocity
        Velocity of a flight, in the motor's unit per second. None: one step per row.
    period
        Length of the rows of a flight in s, and of the frames. None: as the camera is set.
    move
        Move to the focus at the end, if there is one.
    md
        Metadata for the start document.

    Examples
    --------
    >>> RE(focus_scan([camera], focus, -1200, -1100, 10))  # doctest: +SKIP
    """
    detectors = listed(detectors)
    camera = next((device for device in detectors if isinstance(device, Camera)), None)
    if camera is None:
        raise ValueError("A focus scan needs a camera; give it one, as in focus_scan([camera], ...")
    positions = focus_positions(start, stop, step)
    metadata = {
        "plan_name": "focus_scan",
        "plan_args": {
            "detectors": [device.name for device in detectors],
            "motor": motor.name,
            "start": start,
            "stop": stop,
            "step": step,
            "fly": fly,
            "velocity": velocity,
            "period": period,
            "move": move,
        },
        **(md or {}),
    }
    described = yield from wait_for(motor.describe)  # type: ignore[arg-type]
    unit = (described or {}).get(motor.name, {}).get("units", "")
    widths = FocusData(motor.name, camera.name)
    if fly:
        if velocity is None:
            row = period or (yield from wait_for(camera.integration_time.get_value))
            velocity = abs(step) / row
        plan = flyscan(detectors, motor, start, stop, velocity, period=period, md=metadata)
    else:
        # Bluesky's own annotation does not say what it takes: motor, positions, motor, ...
        plan = bp.list_scan(detectors, motor, list(positions), md=metadata)  # type: ignore[arg-type]
    found: list[FocusResult] = []

    def find() -> Found:
        found.append(FocusResult.of(widths.columns, unit))
        return Found([found[0].finding], found[0].sentence())

    uid = yield from bpp.subs_wrapper(with_findings(plan, find), widths)
    for result in found:
        if result.focus is None:
            _log.warning(result.sentence())
        elif move:
            yield from bps.mv(motor, result.focus.position)
    return uid


def focus_positions(start: float, stop: float, step: float) -> NDArray[np.float64]:
    """Return the positions of a step scan, from ``start`` towards ``stop``, shape (n,).

    Raises
    ------
    ValueError
        If they are too few for a fit, or no numbers.
    """
    numbers = np.array([start, stop, step], dtype=np.float64)
    if not np.all(np.isfinite(numbers)) or step == 0:
        raise ValueError(
            f"A focus scan cannot go from {start!r} to {stop!r} in steps of {step!r}; give finite "
            "numbers and a step that is not zero."
        )
    # The last position may be off by the rounding of the steps.
    count = int(abs(stop - start) / abs(step) + 1e-6) + 1
    if count < FEWEST:
        raise ValueError(
            f"From {start:g} to {stop:g} in steps of {abs(step):g} there are {count} positions, "
            f"but a fit needs {FEWEST}; make the step smaller or the range larger."
        )
    return start + np.copysign(abs(step), stop - start) * np.arange(count)


class FocusData:
    """Widths and centroids against the position, from the documents of one run.

    Parameters
    ----------
    motor, camera
        Names of the devices.

    Attributes
    ----------
    columns
        Name of a column without that of the camera, or ``position`` -> shape (n,).
    """

    def __init__(self, motor: str, camera: str) -> None:
        self._names = {"position": motor}
        self._names |= {key: f"{camera}_{key}" for key in (*WIDTHS, "centroid_x", "centroid_y")}
        self._rows: list[list[float]] = []
        self._stream: str | None = None
        self._path: Path | None = None

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "descriptor" and document["name"] == "primary":
            self._stream = document["uid"]
        elif name == "event" and document["descriptor"] == self._stream:
            self._rows.append([document["data"][key] for key in self._names.values()])
        elif name == "stream_resource" and document["data_key"] == self._names["fwhm_x"]:
            self._path = Path(unquote(urlparse(document["uri"]).path))

    @property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """What has been recorded; of a flight, what was recorded in good rows."""
        if self._path is not None:
            read = read_columns(self._path, "/entry/data", [*self._names.values(), "quality"])
            good = good_rows(read["quality"])
            return {key: np.asarray(read[name], float)[good] for key, name in self._names.items()}
        table = np.array(self._rows, dtype=np.float64).reshape(-1, len(self._names))
        return dict(zip(self._names, table.T, strict=True))


@dataclass(eq=False)
class FocusResult:
    """What a focus scan has found.

    Attributes
    ----------
    fits
        ``fwhm_x``, ``fwhm_y`` and ``focus`` -> the fit, of those that have a minimum.
    why_not
        Why there is no focus; empty if there is one.
    unit
        Unit of the positions.
    """

    fits: Mapping[str, FocusFit] = field(default_factory=dict)
    why_not: str = ""
    unit: str = ""

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[np.float64]], unit: str = "") -> "FocusResult":
        """Fit what `FocusData` has recorded."""
        x, y = (columns[width] for width in WIDTHS)
        both = {**{width: columns[width] for width in WIDTHS}, "focus": np.hypot(x, y) / 2**0.5}
        fits: dict[str, FocusFit] = {}
        why_not = ""
        for key, width in both.items():
            try:
                fits[key] = fit_focus(columns["position"], width)
            except FocusError as error:
                why_not = str(error) if key == "focus" else why_not
        return cls(fits, why_not, unit)

    @property
    def focus(self) -> FocusFit | None:
        """The fit of the quadratic mean of both widths, if it has a minimum."""
        return self.fits.get("focus")

    def sentence(self) -> str:
        """Return the result in one line."""
        if self.focus is None:
            return f"no focus found, nothing moved: {self.why_not.rstrip('.')}"
        unit = f" {self.unit}" if self.unit else ""
        along = ", ".join(
            f"{key[-1]} {fit.width:.3g} px at {fit.position:.2f}{unit}"
            for key, fit in self.fits.items()
            if key != "focus"
        )
        return (
            f"focus at {self.focus.position:.2f} ± {self.focus.position_error:.2f}{unit}"
            f" (smallest FWHM: {along})"
        )

    @property
    def finding(self) -> Finding:
        """The numbers and the sentence as one event."""
        items: dict[str, Item] = {"focus_fit": (self.sentence(), "")}
        for key, fit in self.fits.items():
            items[f"{key}_position"] = (fit.position, self.unit)
            items[f"{key}_position_error"] = (fit.position_error, self.unit)
            items[f"{key}_smallest"] = (fit.width, "px")
            items[f"{key}_smallest_error"] = (fit.width_error, "px")
        return Finding("focus_fit", items)


__all__ = ["FocusData", "FocusResult", "focus_positions", "focus_scan"]
