"""What exists at one beamline: plain Python modules, and how they are loaded.

A beamline module is any importable module with

``make_devices(prefix: str | None = None) -> dict[str, Device]``
    makes the devices without connecting them; the keys are the names that people type. Without a
    prefix the module chooses its own.

and, each optional,

``UNAVAILABLE``
    names of devices that cannot be had as things are, and for each the sentence why;
``REFERENCE``
    name of the column by which spectra are divided when they are shown: I0;

and lists of such names:

``DETECTORS``
    what a scan reads if nobody says otherwise;
``AXES``
    what can be scanned;
``BASELINE``
    what is read once before and once after every run;
``SILENT``
    detectors that every fly scan of a session records, whatever it names, and that are not drawn;
``PATH``
    what must let the beam through, from the source to the sample: valves, shutters and locks, of
    which one that does not is a reason in the pre-flight of a scan from the command line;

and, for what is exported,

``SPECTRA``
    mode (``"tey"``, ``"pey"``, ``"tfy"``, ``"pfy"``, ``"trans"``) -> the columns that make the
    spectrum: ``{"signal": ..., "i0": ..., "reference": ...}``, or a list of such, of which the
    first counts whose columns a run has;
``NEXUS``
    lines ``[path, source, unit]`` that `glidepath.export.Fact` explains: what else of a run goes
    where in its NeXus file.

and, for tests that the hardware passes (`glidepath.acceptance`),

``SAFE_RANGES``
    name of an axis, also one of a device's parts such as ``"m1-tx"`` -> the range
    ``(low, high)`` in which a test may move it;
``ACCEPTANCE``
    name of a device or an axis -> what its tests go by: see `glidepath.acceptance.Needs`.

A ``make_devices`` that has a parameter ``mains_frequency`` is told the frequency of the mains (Hz)
of the configuration.

:mod:`glidepath.beamlines.simulated` is an example to copy.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from math import nan
from types import ModuleType
from typing import Any

from ophyd_async.core import Device

__all__ = ["Beamline", "BeamlineError", "load_beamline"]


EXPORTED = ("SPECTRA", "NEXUS")
"""Lists of a beamline module that travel in start documents."""


class BeamlineError(ValueError):
    """A beamline module cannot be used; the text says why in one sentence."""


@dataclass(frozen=True)
class Beamline:
    """The devices of a beamline and what they are for.

    Attributes
    ----------
    name
        Name of the module.
    devices
        Devices by name, not connected yet.
    detectors, axes, baseline, path
        Names of devices: see the convention in :mod:`glidepath.beamlines`.
    unavailable
        Names of devices that cannot be had now, and why.
    silent
        Names of detectors that every fly scan of a session records, and that are not drawn.
    reference
        Name of the column by which spectra are divided when they are shown, or an empty text.
    for_export
        What every start document says for exports: ``spectra`` and ``nexus``, where the module
        has them.
    safe_ranges
        Name of an axis -> lowest and highest position to which a test may move it.
    acceptance
        Name of a device or an axis -> what its acceptance tests go by.
    """

    name: str
    devices: Mapping[str, Device]
    detectors: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    baseline: tuple[str, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    reference: str = ""
    for_export: Mapping[str, object] = field(default_factory=dict)
    safe_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    acceptance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    path: tuple[str, ...] = ()


def load_beamline(
    name: str, prefix: str | None = None, *, mains_frequency: float | None = None
) -> Beamline:
    """Import a beamline module and make its devices.

    A module in the current folder is found too, as Python itself finds it for ``python``.

    Parameters
    ----------
    name
        Name of the module, for example ``"glidepath.beamlines.simulated"``.
    prefix
        Handed to its ``make_devices``.
    mains_frequency
        Frequency of the mains in Hz, handed to its ``make_devices`` if that has a parameter of
        this name.

    Raises
    ------
    BeamlineError
        If the module cannot be imported, does not follow the convention, or cannot make its
        devices.

    Examples
    --------
    >>> load_beamline("glidepath.beamlines.simulated").axes
    ('energy', 'energy_separate', 'mono_motor', 'mono_profile', 'focus')
    """
    try:
        with _current_folder():
            module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise BeamlineError(f"Beamline {name!r} cannot be imported: {_text(error)}.") from error
        raise BeamlineError(
            f"There is no module {name!r}, neither installed nor in {os.getcwd()}; check its name, "
            "or start where the file is."
        ) from error
    # Whatever a module of somebody else raises while it is imported is that module's mistake.
    except (Exception, SystemExit) as error:
        raise BeamlineError(f"Beamline {name!r} cannot be imported: {_text(error)}.") from error
    make_devices = getattr(module, "make_devices", None)
    if not callable(make_devices):
        raise BeamlineError(
            f"Beamline {name!r} has no function make_devices(); "
            "see glidepath.beamlines.simulated for what a beamline module needs."
        )
    options = {} if mains_frequency is None else {"mains_frequency": mains_frequency}
    try:
        devices = dict(make_devices(prefix, **_taken_by(make_devices, options)))
    except (Exception, SystemExit) as error:
        raise BeamlineError(
            f"Beamline {name!r} could not make its devices: {_text(error)}."
        ) from error
    nameless = [key for key in devices if not isinstance(key, str)]
    if nameless:
        raise BeamlineError(
            f"Beamline {name!r} has a device under {nameless[0]!r}: the keys of what its "
            "make_devices() returns must be the names that people type."
        )
    return Beamline(
        name,
        devices,
        _names(module, "DETECTORS", devices),
        _names(module, "AXES", devices),
        _names(module, "BASELINE", devices),
        dict(getattr(module, "UNAVAILABLE", {})),
        _names(module, "SILENT", devices),
        str(getattr(module, "REFERENCE", "")),
        {name.lower(): getattr(module, name) for name in EXPORTED if hasattr(module, name)},
        _ranges(module),
        _mappings(module, "ACCEPTANCE"),
        path=_names(module, "PATH", devices),
    )


def _taken_by(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some keyword arguments that a function has a parameter for."""
    parameters = signature(function).parameters
    return {name: value for name, value in options.items() if name in parameters}


@contextmanager
def _current_folder() -> Iterator[None]:
    """Let modules be found in the current folder, after all others, while one is imported."""
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _text(error: BaseException) -> str:
    """Return an error in one line, without a full stop at its end."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(" .:")


def _ranges(module: ModuleType) -> dict[str, tuple[float, float]]:
    """Return the safe ranges of a module, checked."""
    found: dict[str, tuple[float, float]] = {}
    for name, given in _mapping(module, "SAFE_RANGES").items():
        try:
            low, high = map(float, given)
        except (TypeError, ValueError):
            low = high = nan
        if not low < high:
            raise BeamlineError(
                f"Beamline {module.__name__!r} has the safe range {given!r} for {name!r}; give "
                "(low, high), two numbers of which the first is the lower one."
            )
        found[name] = (low, high)
    return found


def _mappings(module: ModuleType, which: str) -> dict[str, Mapping[str, Any]]:
    found = _mapping(module, which)
    for name, said in found.items():
        if not isinstance(said, Mapping):
            raise BeamlineError(
                f"Beamline {module.__name__!r} says {said!r} of {name!r} in {which}; give a "
                "mapping, such as {'tolerance': 0.1}."
            )
    return found


def _mapping(module: ModuleType, which: str) -> dict[str, Any]:
    given = getattr(module, which, {})
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise BeamlineError(
            f"Beamline {module.__name__!r} has a {which} that is no mapping of names of devices "
            "or axes."
        )
    return dict(given)


def _names(module: ModuleType, which: str, devices: Mapping[str, Device]) -> tuple[str, ...]:
    listed = getattr(module, which, ())
    try:
        names = tuple(listed)
    except TypeError:
        names = ()
        listed = None
    if listed is None or isinstance(listed, str | bytes):
        raise BeamlineError(
            f"Beamline {module.__name__!r} has a {which} that is no list of names of devices."
        )
    unknown = [name for name in names if not isinstance(name, str) or name not in devices]
    if unknown:
        raise BeamlineError(
            f"Beamline {module.__name__!r} lists {unknown[0]!r} in {which}, but its make_devices() "
            f"makes only {', '.join(devices)}."
        )
    return names
