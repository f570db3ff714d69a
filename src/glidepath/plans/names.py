"""Which names devices of a scan may have: each is a column, a stream and a data set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ophyd_async.core import Device

from glidepath.devices.sampled import SampledChannel, WithDerived, channels_for, offers
from glidepath.flyers import Triggering
from glidepath.flyers.sampling.layout import primary_columns
from glidepath.trajectory import PreflightError

OWN_STREAMS = ("primary", "baseline", "verdict", "decisions", "focus_fit", "n2_check", "dose")
"""Streams that a run has beside those of raw updates."""

SEPARATORS = "/."
"""Characters that separate names: in files and catalogues, and in documents."""


def listed(detectors: Any) -> list[Any]:
    """Return the detectors of a plan as a list of its own.

    Parameters
    ----------
    detectors
        What a user gave for them: any iterable of devices.

    Raises
    ------
    PreflightError
        If it is one device, or a text, where a list must be.
    """
    if isinstance(detectors, str | Device) or not isinstance(detectors, Iterable):
        name = detectors if isinstance(detectors, str) else getattr(detectors, "name", "")
        raise PreflightError(f"detectors must be a list, such as [{name or 'mesh'}].")
    return list(detectors)


async def check_names(
    sampled: Sequence[Any], axis: Any, triggering: Triggering | None
) -> list[SampledChannel]:
    """Refuse names that a run cannot hold; return the channels, the axis first.

    Parameters
    ----------
    sampled
        Devices that are sampled, without the axis.
    axis
        What is flown.
    triggering
        What triggers the other devices; None: nothing does.

    Raises
    ------
    PreflightError
        Naming the first one, and why.
    """
    devices = [axis, *(device for device in sampled if device is not axis)]
    channels: list[SampledChannel] = []
    for device in devices:
        channels += [c for c in await channels_for(device) if c not in channels]
    derived = [one for d in devices if offers(d, WithDerived) for one in d.derived()]
    triggered = {} if triggering is None else triggering.columns
    images = [] if triggering is None else [f"{d.name}_image" for d in triggering.detectors]
    columns = [column.name for column in primary_columns(channels, triggered, derived)]
    names = [c.channel.name for c in channels]
    _check_characters([*columns, *images])
    _check_streams(names)
    _check_columns([*columns, *images], names)
    return channels


def _check_characters(names: Iterable[str]) -> None:
    for name in names:
        wrong = [c for c in name if c in SEPARATORS or not c.isprintable()]
        if wrong or not name.strip():
            raise PreflightError(
                f"A detector cannot have the column {name!r}, for {_shown(wrong)} is not possible "
                "in a name; rename it, with letters, digits and underscores."
            )


def _shown(wrong: Sequence[str]) -> str:
    return repr(wrong[0]) if wrong else "nothing"


def _check_streams(channels: Iterable[str]) -> None:
    for name in channels:
        if name in OWN_STREAMS:
            raise PreflightError(
                f"A detector cannot be named {name!r}, for the run has a stream of that name; "
                "rename the detector."
            )


def _check_columns(columns: Sequence[str], channels: Sequence[str]) -> None:
    for name, times in Counter(columns).items():
        if times > 1:
            if channels.count(name) > 1:
                what = "two channels have it"
            else:
                what = "the table has a column of its own with it"
            raise PreflightError(
                f"The name {name!r} cannot be used, for {what}; rename one of the devices."
            )


__all__ = ["check_names", "listed"]
