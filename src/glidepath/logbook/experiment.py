"""Says who measures what for whom: set once, checked when it is set, part of every run."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from glidepath.physics import atomic_number, atoms_of, check_edge

FILE_NAME = "experiment.json"
"""Where a data directory keeps its experiment."""

MODES = {
    "tey": "Total Electron Yield",
    "pey": "Partial Electron Yield",
    "tfy": "Fluorescence Yield",
    "pfy": "Partial Fluorescence Yield",
    "trans": "Transmission",
}
"""How a spectrum is measured: short name -> name in full."""

TECHNIQUES = {
    "XAS": ("PaNET01196", "x-ray absorption spectroscopy"),
    "NEXAFS": ("PaNET01199", "x-ray absorption near edge structure"),
    "XANES": ("PaNET01199", "x-ray absorption near edge structure"),
}
"""Short name -> identifier and label in PaNET, the ontology of photon and neutron techniques."""

_TEXTS = ("facility", "beamline", "instrument", "end_station", "investigation")
_SESSIONS = ("instrument_session", "data_session")
_NAME_OF_SESSION = re.compile(r"[\w.:/-]*")
_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4})-(\d{4})-(\d{4})-(\d{3}[\dX])")


class ExperimentError(ValueError):
    """What was said of an experiment cannot be right; the text says why in one sentence."""


@dataclass(frozen=True)
class User:
    """Somebody who takes part in an experiment.

    Parameters
    ----------
    name
        As it is to be printed.
    orcid
        ORCID iD, as ``0000-0002-1825-0097`` or as an address; its check digit is checked
        (ISO 7064, MOD 11-2).
    role
        Such as ``"principal investigator"`` or ``"local contact"``.
    affiliation
        Where the person works.
    identifier
        Name or number of the account at the facility.

    Raises
    ------
    ExperimentError
        If there is no name or the ORCID iD is wrong.
    """

    name: str
    orcid: str = ""
    role: str = ""
    affiliation: str = ""
    identifier: str = ""

    def __post_init__(self) -> None:
        _need_texts(self, "user")
        if not self.name.strip():
            raise ExperimentError("A user needs a name.")
        object.__setattr__(self, "orcid", _checked_orcid(self.orcid))


@dataclass(frozen=True)
class Sample:
    """What is measured.

    Parameters
    ----------
    name
        What people call it.
    identifier
        Its number in the facility's sample database.
    formula
        Chemical formula, such as ``"Fe2O3"``.

    Raises
    ------
    ExperimentError
        If there is no name or the formula cannot be read.
    """

    name: str
    identifier: str = ""
    formula: str = ""

    def __post_init__(self) -> None:
        _need_texts(self, "sample")
        if not self.name.strip():
            raise ExperimentError("A sample needs a name.")
        if self.formula:
            _checked(atoms_of, self.formula)


@dataclass(frozen=True)
class Proposal:
    """What the beam time was granted for.

    Parameters
    ----------
    number
        As the facility writes it.
    title, type
        Its title, and its kind, such as ``"regular"`` or ``"in-house"``.
    principal_investigator
        Name of the person.

    Raises
    ------
    ExperimentError
        If there is no number.
    """

    number: str
    title: str = ""
    type: str = ""
    principal_investigator: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", str(self.number))
        _need_texts(self, "proposal")
        if not self.number.strip():
            raise ExperimentError("A proposal needs a number.")


@dataclass(frozen=True)
class Experiment:
    """Who measures what for whom.

    An experiment never changes; `changed` returns another one. What is set is checked then, so
    that an export months later has nothing to complain about.

    Parameters
    ----------
    facility, beamline, instrument, end_station
        Where: ``"BESSY II"``, ``"UE48"``, ...
    proposal
        A `Proposal`, a mapping with its fields, or its number alone.
    investigation
        Identifier of the investigation in ICAT.
    instrument_session
        Diamond's name of a visit, such as ``"cm12345-1"``.
    data_session
        NSLS-II's name of a proposal's data, such as ``"pass-312345"``.
    access_tags
        Tiled's access tags of the runs: who may see them.
    users
        `User` objects, mappings with their fields, or names alone.
    sample
        A `Sample`, a mapping with its fields, or its name alone; None: not said.
    element, edge
        What absorbs: ``"N"`` and ``"K"``; the element must have the edge.
    mode
        How it is measured: one of `MODES`, short or in full.
    technique
        One of `TECHNIQUES`.

    Raises
    ------
    ExperimentError
        In one sentence, at the first thing that cannot be right.

    Examples
    --------
    >>> here = Experiment(facility="BESSY II", element="N", edge="K", mode="tey")
    >>> here.changed(sample="N2 gas cell").sample
    Sample(name='N2 gas cell', identifier='', formula='')
    """

    facility: str = ""
    beamline: str = ""
    instrument: str = ""
    end_station: str = ""
    proposal: Proposal | None = None
    investigation: str = ""
    instrument_session: str = ""
    data_session: str = ""
    access_tags: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    sample: Sample | None = None
    element: str = ""
    edge: str = ""
    mode: str = ""
    technique: str = "XAS"
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further keys for the start document."""

    def __post_init__(self) -> None:
        for name in (*_TEXTS, *_SESSIONS, "element", "edge", "mode", "technique"):
            _need_text("experiment", name, getattr(self, name))
        self._set("proposal", _one(Proposal, "number", self.proposal))
        self._set("sample", _one(Sample, "name", self.sample))
        self._set("users", tuple(_each(self.users)))
        self._set("access_tags", _tags(self.access_tags))
        for name in _SESSIONS:
            if not _NAME_OF_SESSION.fullmatch(getattr(self, name)):
                raise ExperimentError(
                    f"{getattr(self, name)!r} cannot be the {name.replace('_', ' ')}; letters, "
                    "digits, dots, dashes, colons and slashes are allowed."
                )
        self._check_absorber()
        self._set("mode", _mode(self.mode))
        if self.technique and self.technique not in TECHNIQUES:
            raise ExperimentError(
                f"{self.technique!r} is no technique; give one of {', '.join(TECHNIQUES)}."
            )
        self._check_more()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_absorber(self) -> None:
        if self.element:
            _checked(atomic_number, self.element)
        if self.edge and not self.element:
            raise ExperimentError(
                f"The edge {self.edge} needs an element; set both, such as element='N', edge='K'."
            )
        if self.edge:
            _checked(check_edge, self.element, self.edge)

    def _check_more(self) -> None:
        clash = sorted(set(self.more) & KEYS)
        if clash:
            raise ExperimentError(
                f"{clash[0]!r} has a field of its own in an experiment and cannot be set by more."
            )
        try:
            json.dumps(dict(self.more))
        except (TypeError, ValueError) as error:
            raise ExperimentError(
                "What more an experiment says must be texts, numbers, lists and dictionaries "
                f"({error})."
            ) from error
        self._set("more", dict(self.more))

    def changed(self, **fields_: Any) -> Self:
        """Return the same experiment with some fields changed.

        Raises
        ------
        ExperimentError
            If there is no such field, or its value cannot be right.
        """
        known = [item.name for item in fields(self)]
        for name in fields_:
            if name not in known:
                raise ExperimentError(f"An experiment has no {name!r}; it has {', '.join(known)}.")
        return replace(self, **fields_)

    def to_start_document(self) -> dict[str, Any]:
        """Return what the start documents of its runs say; only what is known.

        The keys are those that HZB, NSLS-II, Diamond and ESRF use, where they have one; the
        page "FAIR data" of the documentation has them in a table.
        """
        document: dict[str, Any] = {
            "facility": self.facility,
            "beamline": self.beamline,
            "instrument": self.instrument or self.beamline,
            "end_station": self.end_station,
            "investigation_id": self.investigation,
            "instrument_session": self.instrument_session,
            "data_session": self.data_session,
            "tiled_access_tags": list(self.access_tags),
            "users": [_said(asdict(user)) for user in self.users],
            "element": self.element,
            "edge": self.edge,
            "mode": self.mode,
        }
        if self.users:
            document["user_name"] = self.users[0].name
            document["username"] = self.users[0].identifier
        if self.proposal is not None:
            document["proposal"] = _said(
                {
                    "proposal_id": self.proposal.number,
                    "title": self.proposal.title,
                    "type": self.proposal.type,
                    "pi_name": self.proposal.principal_investigator,
                }
            )
            document["investigation_title"] = self.proposal.title
        if self.sample is not None:
            document["sample"] = _said(
                {
                    "name": self.sample.name,
                    "sample_id": self.sample.identifier,
                    "chemical_formula": self.sample.formula,
                }
            )
        if self.technique:
            pid, label = TECHNIQUES[self.technique]
            document["technique"] = {"name": self.technique, "pid": pid, "label": label}
        return _said(document) | dict(self.more)

    def describe_in(self, metadata: Any) -> None:
        """Bring a run engine's persistent metadata up to date, such as ``RE.md``.

        What an experiment before said and this one does not is taken out.
        """
        for key in KEYS & set(metadata):
            del metadata[key]
        metadata.update(self.to_start_document())

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON knows them; `from_json` is the way back."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the experiment of `to_json`.

        Raises
        ------
        ExperimentError
            If a field is unknown or cannot be right.
        """
        return cls().changed(**stored)

    def save(self, root: Path) -> Path:
        """Keep it in a data directory, for the sessions to come; return the file.

        Raises
        ------
        ExperimentError
            If the file cannot be written.
        """
        path = root / FILE_NAME
        new = path.with_suffix(f".{os.getpid()}.new")
        try:
            new.write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n", "utf-8")
            os.replace(new, path)
        except OSError as error:
            raise ExperimentError(
                f"The experiment cannot be kept in {path} ({error.strerror}); make room or rights "
                "there."
            ) from error
        return path

    @classmethod
    def load(cls, root: Path) -> Self:
        """Return the experiment of a data directory; an empty one if it keeps none.

        Raises
        ------
        ExperimentError
            If its file cannot be read.
        """
        path = root / FILE_NAME
        try:
            stored = json.loads(path.read_text("utf-8"))
            if not isinstance(stored, dict):
                raise ValueError("it holds no fields")
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise ExperimentError(
                f"{path} cannot be read ({error}); correct it, or remove it and set the experiment "
                "again."
            ) from error
        return cls.from_json(stored)


KEYS = frozenset(
    {
        *("facility", "beamline", "instrument", "end_station", "proposal", "investigation_id"),
        *("investigation_title", "instrument_session", "data_session", "tiled_access_tags"),
        *("users", "user_name", "username", "sample", "element", "edge", "mode", "technique"),
    }
)
"""Keys of start documents that an experiment sets."""


def _said(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not known."""
    return {key: value for key, value in document.items() if value not in ("", [], {}, None)}


def _checked(check: Any, *arguments: str) -> None:
    try:
        check(*arguments)
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def _need_texts(what: Any, kind: str) -> None:
    for item in fields(what):
        _need_text(kind, item.name, getattr(what, item.name))


def _need_text(kind: str, name: str, value: Any) -> None:
    if not isinstance(value, str) or any(ord(letter) < 32 for letter in value):
        raise ExperimentError(
            f"The {name.replace('_', ' ')} of the {kind} must be one line of text, not {value!r}."
        )


def _one(kind: Any, main: str, value: Any) -> Any:
    """Return a part of an experiment from an object, a mapping, or its main field alone."""
    if value is None or isinstance(value, kind):
        return value
    if isinstance(value, str | int):
        return None if value == "" else kind(value)
    if isinstance(value, Mapping):
        known = [item.name for item in fields(kind)]
        for name in value:
            if name not in known:
                raise ExperimentError(
                    f"A {kind.__name__.lower()} has no {name!r}; it has {', '.join(known)}."
                )
        if main not in value:
            raise ExperimentError(f"A {kind.__name__.lower()} needs a {main}.")
        return kind(**value)
    raise ExperimentError(
        f"{value!r} is no {kind.__name__.lower()}; give its {main}, or a mapping with "
        f"{', '.join(item.name for item in fields(kind))}."
    )


def _each(users: Any) -> Iterable[User]:
    if isinstance(users, str | User | Mapping):
        users = [users]
    if not isinstance(users, Iterable):
        raise ExperimentError(f"The users must be a list of names, not {users!r}.")
    return [_one(User, "name", user) for user in users if user != ""]


def _tags(tags: Any) -> tuple[str, ...]:
    found = (tags,) if isinstance(tags, str) else tuple(tags)
    for tag in found:
        if not isinstance(tag, str) or not tag.strip():
            raise ExperimentError(f"{tag!r} is no access tag; give texts.")
    return found


def _mode(mode: str) -> str:
    for short, full in MODES.items():
        if mode.lower() in (short, full.lower()):
            return short
    if not mode:
        return mode
    choices = ", ".join(f"{short} ({full})" for short, full in MODES.items())
    raise ExperimentError(f"{mode!r} is no mode; give one of {choices}.")


def _checked_orcid(orcid: str) -> str:
    """Return an ORCID iD in its short form, or raise if its check digit is wrong."""
    if not orcid:
        return ""
    found = _ORCID.fullmatch(orcid.strip())
    if found is None:
        raise ExperimentError(
            f"{orcid!r} is no ORCID iD; it has four groups of four, such as 0000-0002-1825-0097."
        )
    digits = "".join(found.groups())
    # ISO 7064, MOD 11-2: each digit is worth twice as much as the one behind it.
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    expected = (12 - total % 11) % 11
    if digits[-1] != ("X" if expected == 10 else str(expected)):
        raise ExperimentError(
            f"The ORCID iD {orcid} has a wrong check digit; compare it with the person's own page."
        )
    return "-".join(found.groups())


__all__ = [
    "FILE_NAME",
    "KEYS",
    "MODES",
    "TECHNIQUES",
    "Experiment",
    "ExperimentError",
    "Proposal",
    "Sample",
    "User",
]
