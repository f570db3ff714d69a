"""Is the beamline as it should be? Fly the N2 series, fit it, judge it, keep the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import bluesky.preprocessors as bpp
import numpy as np
from bluesky.protocols import Movable, Readable
from numpy.typing import NDArray

from glidepath.devices.sampled import channels_for
from glidepath.flyers import BeamGuard
from glidepath.physics import N2Check, N2Limits, check_series
from glidepath.sentences import as_connection_error, joined, sentence_of
from glidepath.storage import read_columns
from glidepath.timeline import good_rows
from glidepath.trajectory import PreflightError

from .findings import FileOfRun, Finding, Found, with_findings
from .flyscan import flyscan
from .messages import MsgGenerator, wait_for
from .names import listed

STREAM = "n2_check"
"""Stream with the verdict: one event."""

EV_PER = {"eV": 1.0, "keV": 1000.0}
"""Units of an energy axis."""

NOTHING_FLOWN = "N2 check not decided: nobody carried out the plan"


def n2_check(
    detectors: Sequence[Readable[Any]],
    axis: Readable[Any],
    *,
    limits: N2Limits | Mapping[str, float | None] | None = None,
    signal: str | None = None,
    reference: str | None = None,
    start: float = 399.5,
    stop: float = 403.5,
    velocity: float = 0.5,
    period: float | None = 0.02,
    passes: int = 1,
    there_and_back: bool = False,
    beam: BeamGuard | None = None,
    shutter: Movable[Any] | None = None,
    path: Sequence[Any] = (),
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator:
    """Fly over the N2 1s -> pi* lines, fit them, and say whether the beamline is as it should be.

    The first line's shift from 400.88 eV, the resolving power, the monochromator's Gaussian width
    and the ratio of the first valley to the third peak come with their standard errors. Those that
    have a limit are judged: passed, failed, or not decided, where the limit is nearer than two
    standard errors or the series is not in the spectrum. The verdict is one event in the stream
    ``n2_check`` and the beginning of the reason in the stop document; the scan itself is a success
    whatever the verdict is.

    Parameters
    ----------
    detectors
        Read in flight: first what the signal is divided by, last the signal, as
        ``[mesh, sample]``. One alone is not divided.
    axis
        The energy, in eV or keV.
    limits
        What is demanded (`glidepath.physics.N2Limits`), also as a mapping, such as
        ``{"shift": 0.02, "resolving_power": 8000}``. None: a shift within 50 meV and a resolving
        power of at least 4000.
    signal, reference
        Columns, where the first and the last one of the detectors do not do; an empty
        reference: no division.
    start, stop, velocity
        In eV and eV/s. The range must hold the series, and by how much it may have drifted.
    period
        Length of a row in s; see `flyscan`.
    passes, there_and_back, beam, shutter, path, md
        See `flyscan`.

    Returns
    -------
    str
        The verdict in one sentence.

    Raises
    ------
    PreflightError
        Before anything moves, if the scan cannot be flown, the limits are none, the axis is no
        energy, or there is no such column.
    FlightError
        If the flight fails; there is no verdict then.

    Examples
    --------
    >>> RE(n2_check([mesh, sample], energy, limits={"shift": 0.02}))  # doctest: +SKIP
    """
    demanded = _limits(limits)
    detectors = listed(detectors)
    wanted = yield from wait_for(partial(_columns, detectors, axis, signal, reference))
    if wanted is None:
        # Nobody carries the plan out (a simulator of plans): the flight can be looked at all the
        # same.
        wanted = axis.name, "", "", 1.0
    *names, per_unit = wanted
    metadata = {
        "plan_name": "n2_check",
        "plan_args": {
            "detectors": [device.name for device in detectors],
            "axis": axis.name,
            "signal": names[1],
            "reference": names[2],
            "start": start,
            "stop": stop,
            "velocity": velocity,
            "period": period,
            "passes": passes,
            "there_and_back": there_and_back,
            "limits": asdict(demanded),
        },
        **(md or {}),
    }
    file, verdicts = FileOfRun(), [NOTHING_FLOWN]

    def find() -> Found:
        check = _check(file, names, per_unit, demanded)
        verdicts.append(check.sentence())
        return Found([_finding(check)], check.sentence())

    plan = flyscan(
        detectors,
        axis,
        start / per_unit,
        stop / per_unit,
        velocity / per_unit,
        period=period,
        passes=passes,
        there_and_back=there_and_back,
        beam=beam,
        shutter=shutter,
        path=path,
        md=metadata,
    )
    yield from bpp.subs_wrapper(with_findings(plan, find), file)
    return f"{verdicts[-1]}."


def _limits(asked: N2Limits | Mapping[str, float | None] | None) -> N2Limits:
    """Return what is demanded.

    Raises
    ------
    PreflightError
        If it demands nothing, or what there is not.
    """
    if asked is None or isinstance(asked, N2Limits):
        return asked or N2Limits()
    known = list(vars(N2Limits()))
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise PreflightError(f"An N2 check has no limit {unknown[0]!r}; it has {', '.join(known)}.")
    try:
        # What a mapping does not name is not judged.
        return N2Limits(**{**dict.fromkeys(known), **asked})
    except (TypeError, ValueError) as error:
        raise PreflightError(sentence_of(error)) from error


async def _columns(
    detectors: Sequence[Any], axis: Any, signal: str | None, reference: str | None
) -> tuple[str, str, str, float]:
    """Return the columns of axis, signal and reference, and how many eV the axis's unit is.

    Raises
    ------
    PreflightError
        If there are none such.
    """
    if not detectors:
        raise PreflightError("An N2 check needs a detector; give it one, as in [mesh, sample].")
    with as_connection_error("The scan cannot begin: "):
        (first, *_) = await channels_for(axis)
        columns = {d.name: [c.channel.name for c in await channels_for(d)] for d in detectors}
    if first.channel.unit not in EV_PER:
        raise PreflightError(
            f"The N2 series is in the photon energy, but {axis.name} is in "
            f"{first.channel.unit or 'no unit'}; give an axis in eV or keV."
        )
    every = [name for of_device in columns.values() for name in of_device]
    if signal is None:
        signal = columns[detectors[-1].name][0]
    if reference is None:
        reference = columns[detectors[0].name][0] if len(detectors) > 1 else ""
    for name in (signal, reference):
        if name and name not in every:
            raise PreflightError(
                f"The scan has no column {name!r} to look at; it has {', '.join(every)}."
            )
    return first.channel.name, signal, reference, EV_PER[first.channel.unit]


def _check(file: FileOfRun, names: Sequence[str], per_unit: float, limits: N2Limits) -> N2Check:
    """Judge what was recorded; what cannot be read is a verdict of its own."""
    if file.path is None:
        return N2Check(limits, None, "nothing was recorded")
    try:
        energy, values = _good_rows(file, names)
    except (OSError, KeyError) as error:
        return N2Check(limits, None, f"its data could not be read: {joined(sentence_of(error))}")
    return check_series(energy * per_unit, values, limits)


def _good_rows(
    file: FileOfRun, names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis, signal, reference = names
    assert file.path is not None
    wanted = [name for name in (axis, signal, reference, "quality") if name]
    read = read_columns(file.path, "/entry/data", wanted)
    good = good_rows(read["quality"])
    values = np.asarray(read[signal], float)
    if reference:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = values / np.asarray(read[reference], float)
    return np.asarray(read[axis], float)[good], values[good]


def _finding(check: N2Check) -> Finding:
    return Finding(
        STREAM,
        {
            "n2_check": (check.sentence(), ""),
            "outcome": (str(check.outcome), ""),
            **check.numbers(),
        },
    )


__all__ = ["n2_check"]
