"""What every device must do: answer, have units, and tell times that can be true."""

import time
from math import isfinite
from typing import Any

import numpy as np
from ophyd_async.core import StandardDetector

from glidepath.acceptance.outcomes import Failed, LeftOut
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.devices.any_device import has_protocol
from glidepath.devices.sampled import can_be_sampled, channels_for
from glidepath.flyers import clock_offsets
from glidepath.flyers.sampling.sampler import CLOCK_BOUND

__all__ = ["judge_clock"]

EPICS_EPOCH = 631_152_000.0
"""POSIX time of 1990-01-01: the time stamp of a record that was never processed."""

LISTENING = 1.2
"""Seconds for which updates are listened to."""

FUTURE = 1.0
"""Seconds by which a time stamp may be ahead of this machine's clock."""

INVALID = 3
"""Severity of an alarm of EPICS that says that a value means nothing."""


async def _read(device: Any) -> dict[str, Any]:
    """Return the readings of a device; of a detector that has none before a scan, its settings."""
    if isinstance(device, StandardDetector):
        return dict(await device.read_configuration())
    return dict(await device.read())


async def _described(device: Any) -> dict[str, Any]:
    if isinstance(device, StandardDetector):
        return dict(await device.describe_configuration())
    return dict(await device.describe())


async def answers(trial: Trial) -> str:
    """Every value can be read, is a number where it should be, and is not invalid."""
    readings = await _read(trial.device)
    if not readings:
        raise LeftOut("It has nothing to read.")
    wrong = [name for name, reading in readings.items() if not _means_something(reading["value"])]
    invalid = [n for n, r in readings.items() if r.get("alarm_severity", 0) == INVALID]
    if wrong:
        raise Failed(f"{wrong[0]} is {readings[wrong[0]]['value']!r}, which means nothing.")
    if invalid:
        raise Failed(
            f"{invalid[0]} is invalid: its record has an alarm of severity INVALID; see what its "
            "server says of it."
        )
    shown = [f"{name} = {_short(reading['value'])}" for name, reading in readings.items()]
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    return f"{'; '.join(shown[:4])}{more}"


def _means_something(value: Any) -> bool:
    """Return whether a value is no number that is not finite; arrays may have gaps."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return bool(np.isfinite(value).any()) or not value.size
    return True


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"an array of {value.size}" if isinstance(value, np.ndarray) else str(value)


async def units(trial: Trial) -> str:
    """Every number that is not a count has a unit."""
    described = await _described(trial.device)
    numbers = [n for n, key in described.items() if key.get("dtype_numpy", "")[1:2] == "f"]
    without = [name for name in numbers if not described[name].get("units")]
    hinted = set((getattr(trial.device, "hints", None) or {}).get("fields", ()))
    unknown = [name for name in without if name in hinted]
    if unknown:
        raise Failed(
            f"{' and '.join(unknown)} has no unit; give its record one (EGU), or the device."
        )
    if not numbers:
        raise LeftOut("It has no numbers that are measured.")
    found = {str(described[name]["units"]) for name in numbers if name not in without}
    trial.details += [f"{name} has no unit" for name in without]
    return f"in {', '.join(sorted(found))}" if found else "none of its numbers is shown"


async def time_stamps(trial: Trial) -> str:
    """No time stamp is of a record that was never processed, or in the future."""
    readings = await _read(trial.device)
    now = time.time()
    stamps = {name: float(reading["timestamp"]) for name, reading in readings.items()}
    if not stamps:
        raise LeftOut("It has nothing to read.")
    for name, stamp in stamps.items():
        if stamp <= EPICS_EPOCH + 86_400:
            raise Failed(
                f"{name} has the time stamp of a record that was never processed; let it be "
                "processed when its server starts (PINI)."
            )
        if stamp > now + FUTURE:
            raise Failed(
                f"{name} is of {stamp - now:.3g} s in the future: the clock of its server is ahead."
            )
    oldest = now - min(stamps.values())
    return f"the oldest value is {oldest:.3g} s old"


async def clock(trial: Trial) -> str:
    """The clock of the server agrees with that of this machine."""
    if not can_be_sampled(trial.device):
        raise LeftOut("It sends no updates that could be listened to.")
    try:
        channels = await channels_for(trial.device)
    except ValueError:
        # Texts, arrays: no channel of a scan.
        raise LeftOut("It sends no numbers that could be listened to.") from None
    own = [channel for channel in channels if channel.feed is None]
    offsets = await clock_offsets(own, LISTENING) if own else {}
    if not offsets:
        raise LeftOut(
            f"It sent nothing new within {LISTENING:g} s, so that its clock cannot be told."
        )
    # Updates can be late, but not early: the smallest distance is nearest to the truth.
    return judge_clock(trial, min(offsets.values(), key=abs))


def judge_clock(trial: Trial, offset: float) -> str:
    """Keep how far the clock of a server is behind, in s, and fail if that is too much."""
    trial.figure("clock behind", offset, "s")
    if abs(offset) > CLOCK_BOUND:
        way = "behind" if offset > 0 else "ahead"
        raise Failed(
            f"The clock of its server is {abs(offset):.3g} s {way} of this machine's, more than "
            f"{CLOCK_BOUND:g} s: let both follow the same time server."
        )
    return f"its clock is {1e3 * offset:+.3g} ms behind, the way of the updates included"


def _readable(beamline: Beamline, name: str) -> list[str]:
    device = beamline.devices[name]
    return [name] if callable(getattr(device, "read", None)) and has_protocol(device) else []


register_suite(
    Suite(
        "everything",
        _readable,
        (
            Test("answers", answers),
            Test("has units", units),
            Test("has time stamps", time_stamps),
            Test("has the time", clock),
        ),
    )
)
