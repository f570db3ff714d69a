"""`glidepath new-beamline`: a package for a beamline, from an answer file or by asking."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import errors_as_sentences

PERIOD, PERIODS, RING_ENERGY = 48.0, 62, 1.7
"""Defaults of what is asked of an undulator: those of the simulated one; mm, 1, GeV."""


def new_beamline(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and underscores.")],
    answers: Annotated[
        Path | None,
        typer.Option(help="TOML file that says what it has. Default: you are asked."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to write it. Default: a new folder NAME.")
    ] = None,
) -> None:
    """Write a package for the beamline NAME: devices, plans, tests, configuration, README.

    Its tests pass at once against the simulated beamline. An answer file looks like this:

        title = "UE48 PGM"

        [devices.pgm]

        class = "PGM"

        pv = "ue481pgm1:"
    """
    from glidepath.beamlines.beamline_answers import read_answers, to_toml
    from glidepath.beamlines.new_package import write_package

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        target = Path(name) if folder is None else folder
        if answers is None:
            table, place = asked_for(name), Path.cwd()
        else:
            table, place = _read(answers), answers.parent
        found = read_answers(name, table, place)
        written = write_package(found, target, to_toml(table))
        for path in written:
            console.print(f"  {target / path}", soft_wrap=True, markup=False)
        console.print(
            f"{len(written)} files are written. Try them without beam: cd {target}; "
            "python -m pytest; and read its README.md.",
            soft_wrap=True,
            markup=False,
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ValueError(f"The answers {file} cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"The answers {file} are no TOML: {error}.") from error


def asked_for(name: str) -> dict[str, Any]:
    """Ask for what a beamline has; return it as the table of an answer file."""
    title = typer.prompt("Title, for people", name)
    facility = typer.prompt("Facility; empty for none", "", show_default=False)
    devices: dict[str, dict[str, Any]] = {}
    pgm = _pv("plane-grating monochromator")
    if pgm:
        devices["pgm"] = {"class": "PGM", "pv": pgm}
    undulator = _pv("undulator")
    if undulator:
        devices["undulator"] = {"class": "Undulator", "pv": undulator, **_law()}
    if pgm:
        parts = {"monochromator": "pgm", **({"undulator": "undulator"} if undulator else {})}
        devices["energy"] = {"class": "EnergyAxis", **parts}
    for kind, what in (
        ("Motor", "motors, such as focus=m1 sample_x=m2"),
        ("Electrometer", "electrometers, such as mesh=K01: sample=K02:"),
        ("Valve", "valves, such as valve1=V03V01U012L:"),
        ("BeamShutter", "beam shutters"),
        ("PhotonShutter", "photon shutters"),
    ):
        devices |= {key: {"class": kind, "pv": pv} for key, pv in _named(what)}
    ring = _pv("ring's current")
    if ring:
        devices["ring"] = {"class": "Ring", "pv": ring, "topup_prefix": _pv("top-up") or ring}
    meters = [key for key, device in devices.items() if device["class"] == "Electrometer"]
    reference = typer.prompt("Which of them is I0; empty for none", meters[0]) if meters else ""
    return {"title": title, "facility": facility, "reference": reference, "devices": devices}


def _pv(what: str) -> str:
    text = f"What the PVs of the {what} begin with; empty if there is none"
    return str(typer.prompt(text, "", show_default=False)).strip()


def _law() -> dict[str, float]:
    return {
        "period_mm": typer.prompt("Its magnetic period in mm", PERIOD, type=float),
        "periods": typer.prompt("The number of its periods", PERIODS, type=int),
        "ring_energy_GeV": typer.prompt("Energy of the electrons in GeV", RING_ENERGY, type=float),
    }


def _named(what: str) -> Iterable[tuple[str, str]]:
    text = str(typer.prompt(f"Names and PVs of {what}; empty for none", "", show_default=False))
    for pair in text.replace(",", " ").split():
        key, equals, pv = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} names no device; give a name and its PV, such as focus=m1.")
        yield key, pv


__all__ = ["asked_for", "new_beamline"]
