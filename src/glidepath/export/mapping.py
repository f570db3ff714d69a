"""What of a run goes where in a NeXus entry: one table, which a beamline can extend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .run import ExportError, Run, look_up


@dataclass(frozen=True)
class Fact:
    """One field of the entry.

    Parameters
    ----------
    path
        Where it goes, from the entry on. A group is named with its class when it is named first:
        ``"instrument:NXinstrument/source:NXsource/current"``.
    sources
        Where it comes from; the first that the run has counts. A source is

        - ``"text:..."``, ``"number:..."``: this text, this number;
        - ``"start:sample.name"``: from the start document;
        - ``"baseline:ring-current"``: what was read before the scan;
        - ``"configuration:ue48-harmonic"``: configuration of a device in the baseline;
        - ``"derived:start_time"``: one of `derived_facts`.

        ``*`` stands for any text; ``{undulator}`` and the other names of `DEVICES` for the name of
        that device.
    unit
        Unit where the run says none.
    modes
        Modes whose entries have it; none: all have.
    """

    path: str
    sources: tuple[str, ...]
    unit: str = ""
    modes: tuple[str, ...] = ()


DEVICES = {
    "ring": ("baseline", "*-lifetime"),
    "undulator": ("baseline", "*-gap"),
    "grating_mono": ("configuration", "*-cff"),
    "crystal_mono": ("configuration", "*-d_spacing"),
}
"""How a kind of device is known: by one of the values that only it has."""

NOT_SAID = "not said"
"""What a field says that must be there and is not known."""

SOURCE = "instrument:NXinstrument/source:NXsource"
UNDULATOR = "instrument:NXinstrument/insertion_device:NXinsertion_device"
MONO = "instrument:NXinstrument/monochromator:NXmonochromator"

OWN = "settings:NXcollection"
"""Group for what the class around it has no field for: validators want their own names only."""

MAPPING: tuple[Fact, ...] = (
    Fact("title", ("start:title", "derived:title")),
    Fact("start_time", ("derived:start_time",)),
    Fact("end_time", ("derived:end_time",)),
    Fact("entry_identifier", ("derived:scan_id",)),
    Fact("entry_identifier_uuid", ("start:uid",)),
    Fact(
        "experiment_identifier",
        ("start:proposal.proposal_id", "start:proposal", "start:data_session"),
    ),
    Fact("experiment_description", ("start:proposal.title",)),
    Fact("collection_identifier", ("start:investigation_id", "start:instrument_session")),
    Fact(f"instrument:NXinstrument/{OWN}/beamline", ("start:beamline",)),
    Fact(f"instrument:NXinstrument/{OWN}/end_station", ("start:end_station",)),
    Fact("verdict:NXnote/description", ("stop:reason", "stop:exit_status", "derived:no_end")),
    Fact("sample:NXsample/name", ("start:sample.name", "start:sample")),
    Fact(f"sample:NXsample/{OWN}/sample_id", ("start:sample.sample_id",)),
    Fact("sample:NXsample/chemical_formula", ("start:sample.chemical_formula",)),
    Fact(
        "sample:NXsample/temperature",
        ("baseline:sample_temperature*", "baseline:*-sample_temperature"),
    ),
    Fact("element:NXelement/name", ("start:element",)),
    Fact("element:NXelement/symbol", ("start:element",)),
    Fact("edge:NXabsorption_edge/name", ("start:edge",)),
    Fact("line_emission_line:NXemission_line/name", ("start:emission_line",), modes=("pfy",)),
    Fact("emission_energy_window", ("start:emission_energy_window",), "eV", ("pfy",)),
    Fact("instrument:NXinstrument/name", ("start:instrument", "start:beamline")),
    Fact(f"{SOURCE}/name", ("start:facility", f"text:{NOT_SAID}")),
    Fact(f"{SOURCE}/type", ("text:Synchrotron X-ray Source",)),
    Fact(f"{SOURCE}/probe", ("text:x-ray",)),
    Fact(f"{SOURCE}/current", ("baseline:{ring}-current",), "mA"),
    Fact(f"{SOURCE}/{OWN}/lifetime", ("baseline:{ring}-lifetime",)),
    Fact(f"{SOURCE}/energy", ("configuration:{ring}-energy",), "GeV"),
    Fact(f"{SOURCE}/mode", ("configuration:{ring}-mode", "baseline:{ring}-mode")),
    Fact(f"{UNDULATOR}/type", ("derived:undulator",)),
    Fact(f"{UNDULATOR}/gap", ("baseline:{undulator}-gap",), "mm"),
    # NeXus knows the phase of an APPLE undulator as an angle only; the machine knows millimetres.
    Fact(f"{UNDULATOR}/{OWN}/shift", ("baseline:{undulator}-shift",), "mm"),
    Fact(f"{UNDULATOR}/harmonic", ("configuration:{undulator}-harmonic",)),
    Fact(f"{UNDULATOR}/{OWN}/polarisation", ("configuration:{undulator}-polarisation",)),
    Fact(f"{UNDULATOR}/energy", ("baseline:{undulator}-energy",), "eV"),
    Fact(f"{MONO}/{OWN}/cff", ("configuration:{grating_mono}-cff",)),
    Fact(f"{MONO}/grating:NXgrating/name", ("configuration:{grating_mono}-grating",)),
    Fact(
        f"{MONO}/{OWN}/line_density",
        ("configuration:{grating_mono}-line_density",),
        "1/mm",
    ),
    Fact(f"{MONO}/grating:NXgrating/diffraction_order", ("configuration:{grating_mono}-order",)),
    Fact(f"{MONO}/exit_slit:NXaperture/size", ("configuration:{grating_mono}-slit",), "um"),
    Fact(
        f"{MONO}/crystal:NXcrystal/d_spacing",
        ("configuration:{crystal_mono}-d_spacing",),
        "angstrom",
    ),
    Fact(f"{MONO}/crystal:NXcrystal/type", ("configuration:{crystal_mono}-crystal",)),
)
"""What every entry has, if the run knows it."""

REQUIRED = {
    "": {
        "element": "element:NXelement/name",
        "edge": "edge:NXabsorption_edge/name",
        "sample": "sample:NXsample/name",
    },
    "pfy": {
        "emission_line": "line_emission_line:NXemission_line/name",
        "emission_energy_window": "emission_energy_window",
    },
}
"""Mode (the first: all) -> what a definition needs beside energy and intensity, and its path."""

QUALITY_MEANINGS = {
    "HELD": "a channel was silent and its last value was kept",
    "NO_DATA": "a channel was disconnected or never had a value",
    "EXTRAPOLATED": "the scan ended before the last update of a readback",
    "PARTIAL": "the exposures of a detector cover less than half of the row",
    "OVERFLOW": "a detector was out of its range",
    "TOP_UP": "the ring was injected into",
    "BEAM_LOST": "there was no beam",
    "TRACKING": "the undulator was further from the axis than its bound",
    "LATE": "a trigger or a frame was late",
    "LOST_TRIGGER": "a trigger led to no frame",
    "LOST_UPDATES": "updates or frames were lost on the way",
    "EXTRA": "a detector made a frame that belongs to no trigger",
    "AMBIGUOUS": "which frame belongs to the trigger cannot be said",
    "CLOCK": "the clock of a server was set during the scan",
    "CHANGED": "the exposure of a detector was changed by hand",
}
"""Bit of the column ``quality`` -> what it says of a row."""


def mapping_of(run: Run) -> list[Fact]:
    """Return the table for a run: ours, and what its beamline adds to it or says otherwise.

    A beamline module's ``NEXUS`` travels in the start document under ``nexus``: a list of
    ``[path, source, unit]``, the unit may be missing. A path that our table has is replaced.

    Raises
    ------
    ExportError
        If a line of the beamline's is none.
    """
    table = {plain_path(fact.path): fact for fact in MAPPING}
    for line in run.start.get("nexus") or ():
        try:
            path, source, *unit = line
            fact = Fact(str(path), (str(source),), str(unit[0]) if unit else "")
            kind, _, name = source.partition(":")
            if kind == "number":
                float(name)
        except (TypeError, ValueError, AttributeError) as error:
            raise ExportError(
                f"The beamline's NeXus table has {line!r}; a line is a path, a source and a unit."
            ) from error
        if kind not in ("text", "number", "start", "stop", "baseline", "configuration", "derived"):
            raise ExportError(
                f"The beamline's NeXus table has the source {source!r}; it must begin with text:, "
                "number:, start:, stop:, baseline:, configuration: or derived:."
            )
        table[plain_path(fact.path)] = fact
    return list(table.values())


def plain_path(path: str) -> str:
    """Return a path without the classes of its groups."""
    return "/".join(part.partition(":")[0] for part in path.split("/"))


@dataclass(frozen=True)
class Found:
    """A field that the run knows."""

    fact: Fact
    value: Any
    unit: str


class Facts:
    """Looks up what a run knows.

    Parameters
    ----------
    run
        The run.
    """

    def __init__(self, run: Run) -> None:
        baseline = run.streams.get("baseline")
        self._run = run
        self._units: dict[str, str] = {}
        before: dict[str, Any] = {}
        configuration: dict[str, Any] = {}
        if baseline is not None:
            for key, values in run.baseline().items():
                if len(values):
                    before[key] = values[0]
                    self._units[key] = baseline.unit(key)
            configuration = baseline.configuration
            for key, described in baseline.configuration_keys.items():
                self._units[key] = described.get("units") or ""
        self._values: dict[str, Mapping[str, Any]] = {
            "baseline": before,
            "configuration": configuration,
            "derived": derived_facts(run),
        }
        self._devices = {
            kind: key[: len(key) - len(pattern) + 1]
            for kind, (where, pattern) in DEVICES.items()
            for key in [look_up(self._values[where], pattern)]
            if key is not None
        }
        if "undulator" in self._devices:
            self._values["derived"] = {**self._values["derived"], "undulator": "undulator"}

    def all(self, table: Iterable[Fact]) -> list[Found]:
        """Return what is known of a table."""
        found = [self._find(fact) for fact in table]
        return [one for one in found if one is not None]

    def _find(self, fact: Fact) -> Found | None:
        for source in fact.sources:
            kind, _, name = source.partition(":")
            value, unit = self._value(kind, name)
            if value is not None:
                return Found(fact, value, unit or fact.unit)
        return None

    def _value(self, kind: str, name: str) -> tuple[Any, str]:
        if kind == "text":
            return name, ""
        if kind == "number":
            return float(name), ""
        if kind in ("start", "stop"):
            return _inside(getattr(self._run, kind), name.split(".")), ""
        for device, called in self._devices.items():
            name = name.replace(f"{{{device}}}", called)
        found = look_up(self._values[kind], name)
        if found is None:
            return None, ""
        return self._values[kind][found], self._units.get(found, "")


def _inside(document: Any, path: Sequence[str]) -> Any:
    """Return a text, a number or a list from inside a document, or None."""
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return None if isinstance(document, Mapping) or document in ("", []) else document


def derived_facts(run: Run) -> dict[str, Any]:
    """Return what follows from a run's documents: times, number, title."""
    facts: dict[str, Any] = {
        "start_time": iso_time(run.start["time"]),
        "title": f"{run.start.get('plan_name', 'scan')} {' '.join(run.start.get('motors') or ())}",
    }
    if run.start.get("scan_id") is not None:
        facts["scan_id"] = str(run.start["scan_id"])
    if run.stop:
        facts["end_time"] = iso_time(run.stop["time"])
    else:
        facts["no_end"] = run.verdict()
    return facts


def iso_time(time: float) -> str:
    """Return POSIX seconds as ISO 8601 with the offset from UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")


__all__ = [
    "DEVICES",
    "MAPPING",
    "NOT_SAID",
    "QUALITY_MEANINGS",
    "REQUIRED",
    "Fact",
    "Facts",
    "Found",
    "iso_time",
    "mapping_of",
    "plain_path",
]
