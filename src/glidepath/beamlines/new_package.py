"""Writes the package of a new beamline: devices, plans, tests, configuration, README."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .beamline_answers import (
    BOXES,
    KINDS,
    MONOCHROMATORS,
    Answers,
    AnswersError,
    DeviceAnswer,
    EncoderAnswer,
)

__all__ = ["write_package"]

TEMPLATES = Path(__file__).parent / "template"

LISTS = ("DETECTORS", "AXES", "BASELINE", "SILENT", "PATH")
"""Lists of a beamline module that follow from the classes of its devices."""

MEANINGS = {
    "DETECTORS": "What a scan reads if nobody says otherwise.",
    "AXES": "What can be scanned.",
    "BASELINE": "What is read before and after every run.",
    "SILENT": "What every fly scan records, and what is not drawn.",
    "PATH": "What must let the beam through: valves, shutters and locks.",
}

FLIGHTS = {"EnergyAxis": (400.0, 402.0, 1.0), "PGM": (400.0, 402.0, 1.0), "Motor": (0.0, 2.0, 1.0)}
"""Class of an axis -> what its tests fly in the simulation: start, stop, velocity."""

UNREAD = ("Camera", "Panda")
"""What must be prepared before it can be read, or has nothing to be read."""

GRATING = EncoderAnswer("", (1, 2), 360_000.0)
"""Encoders of the simulated monochromator on the simulated trigger boxes."""


def write_package(answers: Answers, folder: Path, answer_file: str) -> list[Path]:
    """Write the package of a beamline.

    Parameters
    ----------
    answers
        What it is.
    folder
        Where to; made if it is not there.
    answer_file
        Text of the answer file, which is kept with it.

    Returns
    -------
    list[Path]
        What was written, relative to the folder.

    Raises
    ------
    AnswersError
        If there is something in the folder already. Nothing is written then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AnswersError(
            f"{folder} is there already; nothing was written: name another place with --folder, "
            "or move it away."
        )
    files = {Path("answers.toml"): answer_file, **dict(_rendered(answers))}
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    tables = {device.gap_table for device in answers.devices if device.gap_table is not None}
    for table in tables:
        copied = Path(f"{answers.name}tools") / table.name
        shutil.copyfile(table, folder / copied)
        files[copied] = ""
    return sorted(files)


def _rendered(answers: Answers) -> Iterator[tuple[Path, str]]:
    """Yield the files that are made of templates, with their texts."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    values = _values(answers)
    for template in sorted(TEMPLATES.rglob("*.jinja")):
        inside = template.relative_to(TEMPLATES)
        path = Path(*(values["package"] if part == "package" else part for part in inside.parts))
        text = environment.get_template(inside.as_posix()).render(values)
        yield path.with_suffix(""), text


def _values(answers: Answers) -> dict[str, Any]:
    """Return what the templates are filled with."""
    lists = {
        name: [d.name for d in answers.devices if name in _lists(d, answers)] for name in LISTS
    }
    imports: dict[str, list[str]] = {}
    for device in answers.devices:
        imports.setdefault(KINDS[device.kind].module, []).append(device.kind)
    if any(device.gap_table is not None for device in answers.devices):
        imports.setdefault("glidepath.devices", []).append("read_gap_table")
    physics = {"UE48"} if any(d.kind == "Undulator" for d in answers.devices) else set()
    if any(device.law for device in answers.devices):
        physics.add("UndulatorLaw")
    encoders = [one for device in answers.devices for one in device.encoders.values()]
    if encoders:
        physics.add("Encoder")
        used = {"LinearEncoder" if len(one.inputs) == 1 else "GratingEncoders" for one in encoders}
        imports["glidepath.devices"] += ["EncoderInput", *used]
    if any(_has_timing(device) for device in answers.devices):
        imports["glidepath.devices"].append("MoveTiming")
    if physics:
        imports["glidepath.physics"] = sorted(physics)
    axes = [device for device in answers.devices if device.name in lists["AXES"]]
    flown = next(
        (axis for kind in FLIGHTS for axis in axes if axis.kind == kind and _is_pgm(axis, answers)),
        None,
    )
    servers = {KINDS[device.kind].server for device in answers.devices}
    return {
        "name": answers.name,
        "title": answers.title,
        "facility": answers.facility,
        "package": f"{answers.name}tools",
        "reference": answers.reference,
        "imports": {
            # Constants, classes, functions: as linters want it.
            module: sorted(set(names), key=lambda n: (not n.isupper(), n.islower(), n.lower()))
            for module, names in sorted(imports.items())
        },
        "lists": lists,
        "meanings": MEANINGS,
        "pvs": _pvs(answers, simulated=False),
        "simulated": _pvs(answers, simulated=True),
        "made": [(device.name, _call(device)) for device in answers.devices],
        "has_table": any(device.gap_table is not None for device in answers.devices),
        "axis": None if flown is None else flown.name,
        "flight": None if flown is None else FLIGHTS[flown.kind],
        "servers": {name: name in servers for name in ("vacuum", "accelerator", "panda")},
        "unread": [device.name for device in answers.devices if device.kind in UNREAD],
        "shutter": next((d.name for d in answers.devices if d.kind == "PhotonShutter"), None),
    }


def _is_pgm(axis: DeviceAnswer, answers: Answers) -> bool:
    """Return whether an axis is where the simulated light is: the others are at other energies."""
    kinds = {device.name: device.kind for device in answers.devices}
    return kinds.get(axis.parts.get("monochromator", ""), "PGM") == "PGM"


def _has_timing(device: DeviceAnswer) -> bool:
    return device.kind in MONOCHROMATORS[1:] and "timing" in device.options


def _lists(device: DeviceAnswer, answers: Answers) -> tuple[str, ...]:
    lists = KINDS[device.kind].lists
    # A monochromator that is a part of no energy axis is an axis by itself.
    parts = {part for other in answers.devices for part in other.parts.values()}
    alone = device.kind in MONOCHROMATORS and device.name not in parts
    return (*lists, "AXES") if alone else lists


def _pvs(answers: Answers, *, simulated: bool) -> dict[str, str]:
    """Return what the names of PVs begin with, by device, here or in the simulation."""
    count: Counter[str] = Counter()
    found = {}
    partners = {
        device.parts[parameter]: pv
        for device in answers.devices
        for parameter, pv in KINDS[device.kind].partners.items()
    }
    for device in answers.devices:
        kind = KINDS[device.kind]
        for parameter, pv in device.pvs.items():
            value = pv
            if simulated:
                value = partners.get(device.name) or kind.pv(parameter, count[device.kind])
            found[_key(device.name, parameter)] = value
        count[device.kind] += device.name not in partners
    return found


def _key(name: str, parameter: str) -> str:
    return name if parameter == "prefix" else f"{name}_{parameter.removesuffix('_prefix')}"


def _call(device: DeviceAnswer) -> str:
    """Return the Python that makes a device."""
    arguments = [
        f'pvs["{_key(device.name, p)}"]' if p == "prefix" else f'{p}=pvs["{_key(device.name, p)}"]'
        for p in device.pvs
    ]
    if device.kind == "Undulator":
        arguments.append(f"UE48 if simulated else {_table(device)}")
    arguments += [f"{parameter}={part}" for parameter, part in device.parts.items()]
    arguments.append(f'name="{device.name}"')
    if device.kind in BOXES and device.encoders:
        arguments.append(f"axes={_encoders(device)}")
    arguments += [f"{key}={_option(device, key)}" for key in device.options]
    # One each line: lines are then never too long, and changes are easy to see.
    inner = "".join(f"        {argument},\n" for argument in arguments)
    return f"{device.kind}(\n{inner}    )"


def _option(device: DeviceAnswer, key: str) -> str:
    """Return the Python of a parameter, with another value in the simulation where it needs one."""
    value = device.options[key]
    if key == "timing" and _has_timing(device):
        return f"MoveTiming({', '.join(f'{name}={one!r}' for name, one in value.items())})"
    replaced = KINDS[device.kind].replaced
    if key in replaced and value != replaced[key]:
        return f"{_python(replaced[key])} if simulated else {_python(value)}"
    return _python(value)


def _encoders(device: DeviceAnswer) -> str:
    """Return the Python of the encoders of a trigger box."""
    lines = []
    for axis, encoder in device.encoders.items():
        indent = " " * 16
        if len(encoder.inputs) == 1:
            kind = "LinearEncoder"
            parts = [_input(encoder, encoder, 0), f"{encoder.of}.user_readback"]
        else:
            kind = "GratingEncoders"
            parts = [encoder.of, *(_input(encoder, GRATING, number) for number in (0, 1))]
        inner = "".join(f"{indent}{part},\n" for part in parts)
        lines.append(f'            "{axis}": {kind}(\n{inner}            ),\n')
    return f"{{\n{''.join(lines)}        }}"


def _input(real: EncoderAnswer, simulated: EncoderAnswer, number: int) -> str:
    """Return the Python of one encoder, here and in the simulation."""

    def either(here: float, there: float) -> str:
        return f"{here!r}" if here == there else f"{there!r} if simulated else {here!r}"

    where = either(real.inputs[number], simulated.inputs[number])
    return f"EncoderInput({where}, Encoder({either(float(real.counts), simulated.counts)}))"


def _table(device: DeviceAnswer) -> str:
    if device.gap_table is not None:
        return f'read_gap_table(HERE / "{device.gap_table.name}")'
    law = ", ".join(f"{key}={value!r}" for key, value in device.law.items())
    return f"UndulatorLaw({law})"


def _python(value: Any) -> str:
    if isinstance(value, list):
        inner = ", ".join(map(_python, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_python(key)}: {_python(one)}" for key, one in value.items())
        return f"{{{inner}}}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
