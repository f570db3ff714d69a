"""What is asked about a new beamline: which devices it has, and what their PVs begin with."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import Parameter, signature
from keyword import iskeyword
from pathlib import Path
from typing import Any, Final

__all__ = [
    "BOXES",
    "KINDS",
    "MONOCHROMATORS",
    "Answers",
    "AnswersError",
    "DeviceAnswer",
    "EncoderAnswer",
    "Kind",
    "read_answers",
    "to_toml",
]

DEVICES: Final = "glidepath.devices"
DETECTORS: Final = "glidepath.detectors"
FAMILIES: Final = "glidepath.devices.families"
GENERIC: Final = "glidepath.devices.generic"


class AnswersError(ValueError):
    """What was answered makes no beamline; the text says why in one sentence."""


@dataclass(frozen=True)
class Kind:
    """A class of devices that a new beamline can have.

    Attributes
    ----------
    module
        Where it is imported from.
    simulated
        Parameter that takes the beginning of PV names -> what it is in the simulated beamline,
        one for each device that is simulated. More devices than that share them.
    lists
        Lists of the beamline module in which it stands.
    refers
        Parameters that take other devices by name -> the classes that these can have.
    server
        Which server of the simulation it needs beside those that are always there: ``"vacuum"``,
        ``"accelerator"``, ``"panda"``; empty: none.
    partners
        Parameter that takes another device -> what the PV names of that one begin with in the
        simulation, where not each of its kind will do.
    replaced
        Parameters that have other values in the simulation.
    """

    module: str
    simulated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lists: tuple[str, ...] = ()
    refers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    server: str = ""
    partners: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, Any] = field(default_factory=dict)

    def pv(self, parameter: str, number: int) -> str:
        """Return the beginning of the PV names of one of the simulated devices."""
        choices = self.simulated[parameter]
        return choices[number % len(choices)]


def _kind(module: str, *simulated: str, lists: tuple[str, ...] = (), server: str = "") -> Kind:
    return Kind(module, {"prefix": simulated}, lists, server=server)


def _of_vacuum(*simulated: str, module: str = FAMILIES, lists: tuple[str, ...] = ()) -> Kind:
    return _kind(module, *simulated, lists=lists, server="vacuum")


def _of_ring(*simulated: str) -> Kind:
    return _kind(FAMILIES, *simulated, server="accelerator")


BASELINE = ("BASELINE",)

MONOCHROMATORS = ("PGM", "SGM", "DCM", "KMC3DCM")
"""What can be the monochromator of an energy axis; without one it is an axis by itself."""

LEADING = ("PGM", "DCM")
"""Monochromators that an undulator can follow by itself."""

BOXES = ("Zebra", "Panda")
"""Trigger boxes: they have ``axes``, the encoders that are connected to them."""

MULTIPLEXED = ["Q4M1D1R", "Q3M1D1R"]
"""Quadrupoles of the simulated ring."""

KINDS: Final[Mapping[str, Kind]] = {
    "PGM": _kind(DEVICES, "PGM1:", lists=BASELINE),
    "SGM": _kind(DEVICES, "SGM1:", lists=BASELINE),
    "DCM": _kind(DEVICES, "DCM1:", lists=BASELINE),
    "KMC3DCM": _kind(DEVICES, "", lists=BASELINE),
    "Undulator": _kind(DEVICES, "UE48:", lists=BASELINE),
    "EnergyAxis": Kind(
        DEVICES,
        lists=("AXES",),
        refers={"monochromator": MONOCHROMATORS, "undulator": ("Undulator",)},
    ),
    "Motor": _kind(DEVICES, "m2", "m1", "m4", lists=("AXES", "BASELINE")),
    "Electrometer": _kind(DEVICES, "KEI1:", "KEI2:", lists=("DETECTORS",)),
    "Ring": Kind(
        DEVICES,
        {"prefix": ("RING:",), "topup_prefix": ("TOPUP:",)},
        ("DETECTORS", "BASELINE", "SILENT"),
    ),
    "Camera": _kind(DETECTORS, "CAM1:"),
    "Zebra": _kind(DEVICES, "ZEBRA:"),
    "Panda": _kind(DEVICES, "PANDA:", server="panda"),
    "PulseGenerator": _kind(DEVICES, "PULSE:"),
    "BeamShutter": _of_vacuum("BS1:", lists=("PATH",)),
    "PhotonShutter": _of_vacuum("PSH1:"),
    "Valve": _of_vacuum("V1:", "V2:", lists=("PATH",)),
    "UndulatorLock": _of_vacuum("UE48:", lists=("PATH",)),
    "MirrorM1": _of_vacuum("M1:", lists=BASELINE),
    "HexapodMirror": _of_vacuum("HEX1:", lists=BASELINE),
    "ApertureUnit": _of_vacuum("AU1:", lists=BASELINE),
    "Slits": _of_vacuum("SLIT1:", lists=BASELINE),
    "Pinholes": _of_vacuum("PIN1:", lists=BASELINE),
    "Filters": _of_vacuum("FIL1:", lists=BASELINE),
    "ExitSlit": _of_vacuum("ES1:", lists=BASELINE),
    "ResourceLock": _of_vacuum("LOCK1:", module=GENERIC),
    "PowerConverter": _of_ring("HS4P1D4R:", "VS3P1D4R:"),
    "Multiplexer": Kind(
        FAMILIES,
        {"prefix": ("PMUXZR:",)},
        refers={"converter": ("PowerConverter",)},
        server="accelerator",
        partners={"converter": "QSPAZR:"},
        replaced={"quadrupoles": MULTIPLEXED},
    ),
    "Kicker": _of_ring("KIK1:"),
    "DelayLine": _of_ring("PAHB:"),
    "InjectionEngine": _of_ring("TOPUPCC:"),
    "TopUpRing": Kind(
        FAMILIES,
        {"prefix": ("RING:",), "topup_prefix": ("TOPUPCC:",)},
        server="accelerator",
    ),
    "FillPattern": _of_ring("CUMZR:"),
    "Tune": _of_ring("TUNEZRP:"),
    "BunchFeedback": _of_ring("BBQR:"),
    "BeamPositionMonitors": _of_ring("MDIZ2T5G:"),
    "BeamPositionMonitor": _of_ring("BPMZD1Q4R:", "BPMZD4Q4R:"),
    "BeamSizeMonitor": _of_ring("BSM1:Stats1:"),
}
"""Classes that a new beamline can have; what else there is can be added by hand."""

LAW = ("period_mm", "periods", "ring_energy_GeV")
"""What is told of an undulator that has no gap table yet."""


@dataclass(frozen=True)
class DeviceAnswer:
    """One device of a new beamline.

    Attributes
    ----------
    name
        By which people know it.
    kind
        Its class, one of `KINDS`.
    pvs
        Parameter -> what the names of its PVs begin with.
    parts
        Parameter -> name of the device that it refers to.
    options
        Other parameters of the class.
    law
        Of an undulator: ``period_mm``, ``periods`` and ``ring_energy_GeV``.
    gap_table
        Of an undulator: file of its gap table.
    encoders
        Of a trigger box: its encoders by the axis that they are on.
    """

    name: str
    kind: str
    pvs: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    law: Mapping[str, float] = field(default_factory=dict)
    gap_table: Path | None = None
    encoders: Mapping[str, "EncoderAnswer"] = field(default_factory=dict)


@dataclass(frozen=True)
class EncoderAnswer:
    """The encoders of one axis on a trigger box.

    Attributes
    ----------
    of
        Name of the monochromator or of the motor that has them.
    inputs
        Numbers of the inputs: grating and mirror of a monochromator, the encoder of a motor.
    counts
        For one degree of a monochromator's angle, or one unit of a motor.
    """

    of: str
    inputs: tuple[int, ...]
    counts: float


@dataclass(frozen=True)
class Answers:
    """What a new beamline is.

    Attributes
    ----------
    name
        For file names and Python: lower-case letters, digits and underscores.
    title
        For people.
    facility
        Where it is; may be empty.
    reference
        Name of the detector by which spectra are divided; may be empty.
    devices
        In the order in which they are made.
    """

    name: str
    title: str
    facility: str
    reference: str
    devices: tuple[DeviceAnswer, ...]


def read_answers(name: str, table: Mapping[str, Any], folder: Path) -> Answers:
    """Return what a table of answers says.

    Parameters
    ----------
    name
        Of the beamline.
    table
        As of an answer file: ``title``, ``facility``, ``reference``, and for each device a table
        ``[devices.<name>]`` with its ``class``, ``pv`` and parameters.
    folder
        Where files that it names are.

    Raises
    ------
    AnswersError
        If it makes no beamline.
    """
    if iskeyword(name):
        raise AnswersError(
            f"A beamline cannot be named {name!r}, for that is a keyword of Python; give it "
            "another name."
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise AnswersError(
            f"A beamline cannot be named {name!r}, for its name becomes that of a Python package; "
            "give lower-case letters, digits and underscores, a letter first."
        )
    known = ("title", "facility", "reference", "devices")
    unknown = [key for key in table if key not in known]
    if unknown:
        raise AnswersError(
            f"Nothing is asked for {unknown[0]!r}; what can be answered is {', '.join(known)}."
        )
    devices = table.get("devices", {})
    if not isinstance(devices, Mapping) or not devices:
        raise AnswersError(
            "A beamline without devices is none; give at least one table such as "
            '[devices.focus] with class = "Motor" and pv = "m1".'
        )
    made = tuple(_device(key, value, folder) for key, value in devices.items())
    _check_parts(made)
    reference = _text(table, "reference", "")
    if reference and reference not in devices:
        raise AnswersError(f"The reference {reference!r} is none of the devices.")
    return Answers(name, _text(table, "title", name), _text(table, "facility", ""), reference, made)


def _text(table: Mapping[str, Any], key: str, default: str) -> str:
    value = table.get(key, default)
    # It stands in source files: one line, and nothing that ends a text there.
    if not isinstance(value, str) or not value.isprintable() or set(value) & set('"\\'):
        raise AnswersError(
            f"{key} is {value!r}; it must be a text of one line without quotes and backslashes."
        )
    return value


def _device(name: str, table: Any, folder: Path) -> DeviceAnswer:
    if iskeyword(name):
        raise AnswersError(
            f"A device cannot be named {name!r}, for that is a keyword of Python; give it another "
            "name."
        )
    if not name.isidentifier() or name.startswith("_"):
        raise AnswersError(
            f"A device cannot be named {name!r}, for people type its name in Python; give letters, "
            "digits and underscores."
        )
    if not isinstance(table, Mapping) or table.get("class") not in KINDS:
        asked = table.get("class") if isinstance(table, Mapping) else table
        raise AnswersError(
            f"{name} has the class {asked!r}; what can be written is {', '.join(KINDS)}."
        )
    kind = str(table["class"])
    rest = {key: value for key, value in table.items() if key != "class"}
    if "pv" in rest:
        rest["prefix"] = rest.pop("pv")
    pvs = {key: _pv(name, kind, key, rest) for key in KINDS[kind].simulated}
    parts = {key: str(rest.pop(key)) for key in KINDS[kind].refers if key in rest}
    law = {key: _number(name, key, rest.pop(key)) for key in LAW if key in rest}
    gap_table = rest.pop("gap_table", None) if kind == "Undulator" else None
    if kind == "Undulator":
        _check_undulator(name, law, gap_table, folder)
    elif law:
        raise AnswersError(f"{name} has no {next(iter(law))}: only an Undulator has one.")
    axes = rest.pop("axes", {}) if kind in BOXES else {}
    if not isinstance(axes, Mapping):
        raise AnswersError(
            f"The axes of {name} are {axes!r}; give a table for each, such as "
            f"[devices.{name}.axes.energy]."
        )
    encoders = {axis: _encoder(name, axis, found) for axis, found in axes.items()}
    _check_options(name, kind, rest)
    file = None if gap_table is None else folder / str(gap_table)
    return DeviceAnswer(name, kind, pvs, parts, rest, law, file, encoders)


ENCODERS = {
    "monochromator": ({"grating", "mirror", "counts_per_degree"}, ("grating", "mirror")),
    "motor": ({"input", "counts_per_unit"}, ("input",)),
}
"""What has encoders -> what is told of them, and which of that are numbers of inputs."""


def _encoder(name: str, axis: str, found: Any) -> EncoderAnswer:
    """Return what is said of the encoders of an axis on a trigger box."""
    kind = next((kind for kind in ENCODERS if isinstance(found, Mapping) and kind in found), None)
    if kind is None or set(found) != {kind, *ENCODERS[kind][0]}:
        raise AnswersError(
            f"The encoders of {axis} on {name} are {found!r}; say monochromator, grating, mirror "
            "and counts_per_degree, or motor, input and counts_per_unit."
        )
    inputs = []
    for key in ENCODERS[kind][1]:
        if isinstance(found[key], bool) or found[key] not in (1, 2, 3, 4):
            raise AnswersError(
                f"{key} of {axis} on {name} is {found[key]!r}; it must be the number of an input, "
                "1 to 4."
            )
        inputs.append(int(found[key]))
    (scale,) = ENCODERS[kind][0] - set(ENCODERS[kind][1])
    counts = _number(f"{axis} on {name}", scale, found[scale])
    return EncoderAnswer(str(found[kind]), tuple(inputs), counts)


def _pv(name: str, kind: str, key: str, rest: dict[str, Any]) -> str:
    value = rest.pop(key, None)
    if not isinstance(value, str) or not re.fullmatch(r"[!#-\[\]-~]+", value):
        called = "pv" if key == "prefix" else key
        raise AnswersError(
            f'{name} ({kind}) needs {called} = "...": what the names of its PVs begin with, not '
            f"{value!r}."
        )
    return value


def _number(name: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise AnswersError(f"{key} of {name} is {value!r}; it must be a number above zero.")
    return value


def _check_undulator(name: str, law: Mapping[str, float], table: Any, folder: Path) -> None:
    if table is not None and not (isinstance(table, str) and (folder / table).is_file()):
        raise AnswersError(f"There is no gap table {table!r} for {name} in {folder.absolute()}.")
    if table is None and set(law) != set(LAW):
        raise AnswersError(
            f'{name} needs gap_table = "..." (a CSV file), or what its law is made of: '
            f"{', '.join(LAW)}."
        )


def _check_options(name: str, kind: str, options: Mapping[str, Any]) -> None:
    parameters = signature(getattr(import_module(KINDS[kind].module), kind)).parameters
    own = {"prefix", "name", "table", *KINDS[kind].simulated, *KINDS[kind].refers}
    possible = [key for key in parameters if key not in own]
    for key in options:
        if key not in possible:
            raise AnswersError(
                f"{name} ({kind}) has no {key!r}; it can have {', '.join(possible) or 'nothing'}."
            )
    for key in possible:
        if parameters[key].default is Parameter.empty and key not in options:
            raise AnswersError(f"{name} ({kind}) needs {key} = ...")
    for key, unit in GAP_SPANS.items():
        if key in options and kind == "Undulator":
            _check_span(name, key, options[key], unit)
    if "timing" in options and kind in MONOCHROMATORS[1:]:
        _check_timing(name, options["timing"])


GAP_SPANS = {"gap_range": "mm", "gap_velocities": "mm/s"}
"""What is told of an undulator's gap by a lowest and a highest value, and their unit."""


def _check_span(name: str, key: str, found: Any, unit: str) -> None:
    """Refuse what is no lowest and highest value, such as ends that are reversed."""
    numbers = list(found) if isinstance(found, list | tuple) else []
    right = [isinstance(end, int | float) and not isinstance(end, bool) for end in numbers]
    if len(numbers) != 2 or not all(right) or not 0 <= numbers[0] < numbers[1] < 1e9:
        raise AnswersError(
            f"{key} of {name} is {found!r}; it must be the lowest and the highest value, as "
            f"[lowest, highest] in {unit}."
        )


def _check_timing(name: str, timing: Any) -> None:
    if not isinstance(timing, Mapping) or set(timing) != {"velocity", "acceleration"}:
        raise AnswersError(
            f"timing of {name} is {timing!r}; say velocity in eV/s and acceleration in eV/s²."
        )
    for key, value in timing.items():
        _number(name, f"timing.{key}", value)


def _check_parts(devices: tuple[DeviceAnswer, ...]) -> None:
    made: dict[str, str] = {}
    for device in devices:
        for parameter, classes in KINDS[device.kind].refers.items():
            part = device.parts.get(parameter)
            if part is None and parameter == "undulator":
                continue
            if made.get(str(part)) not in classes:
                raise AnswersError(
                    f"{device.name} needs as its {parameter} a device of the class "
                    f"{' or '.join(classes)} that is named before it, not {part!r}."
                )
        for axis, encoder in device.encoders.items():
            wanted = ("Motor",) if len(encoder.inputs) == 1 else ("PGM",)
            if made.get(encoder.of) not in wanted:
                raise AnswersError(
                    f"The encoders of {axis} on {device.name} need a {wanted[0]} that is named "
                    f"before it, not {encoder.of!r}."
                )
        leader = made.get(device.parts.get("monochromator", ""), LEADING[0])
        follows = device.options.get("coupling", "following") == "following"
        if "undulator" in device.parts and follows and leader not in LEADING:
            raise AnswersError(
                f'{device.name} needs coupling = "separate", for no undulator follows a {leader} '
                "by itself."
            )
        made[device.name] = device.kind


def to_toml(table: Mapping[str, Any]) -> str:
    """Return a table of answers as the text of an answer file."""
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if key != "devices"]
    for name, device in table["devices"].items():
        lines += ["", f"[devices.{name}]"]
        lines += [f"{key} = {_value(value)}" for key, value in device.items()]
    text = "\n".join([*lines, ""])
    tomllib.loads(text)  # what cannot be read back is not written
    return text


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_value(one)}' for key, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
