"""What a session is told once for all: a file ``glidepath.toml`` and the environment.

The file is looked for from the current folder upwards. A value comes from, in this order, what the
user says to the command or to `Session`, the environment, the file, and the default.
"""

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_NAME = "glidepath.toml"

SIMULATED = "glidepath.beamlines.simulated"
"""Beamline of those who have none."""


class ConfigurationError(ValueError):
    """A configuration cannot be used; the text says where and why in one sentence."""


@dataclass(frozen=True)
class Setting:
    """One thing that can be configured.

    Attributes
    ----------
    name
        Its key in the file.
    default
        Its value where nobody says otherwise.
    parse
        Makes the value from a text or from what the file holds; raises ValueError or TypeError.
    meaning
        What it is for, with its unit.
    """

    name: str
    default: Any
    parse: Callable[[Any], Any]
    meaning: str

    @property
    def variable(self) -> str:
        """Name of its variable in the environment."""
        return f"GLIDEPATH_{self.name.upper()}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it must be a text")
    return value.strip()


def _folder(value: Any) -> Path:
    return Path(value if isinstance(value, Path) else _text(value)).expanduser()


def _above_zero(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number) or number <= 0:
        raise ValueError("it must be a number above zero")
    return number


VIEWS = ("auto", "terminal", "notebook", "matplotlib", "none")
"""Words that choose how a running scan is shown; ``auto``: what fits where the session runs."""


def _view(value: Any) -> str:
    if value not in VIEWS:
        raise ValueError(f"it must be one of {', '.join(VIEWS)}")
    return str(value)


SETTINGS = (
    Setting("beamline", SIMULATED, _text, "Python module of the beamline's devices"),
    Setting("data", Path("glidepath-data"), _folder, "data directory"),
    Setting("tiled", None, _text, "address of a Tiled server; without one, a local one is started"),
    Setting("database", None, _text, "PostgreSQL database for the catalogue of a local server"),
    Setting("mains_frequency", 50.0, _above_zero, "frequency of the mains in Hz"),
    Setting("flush", 0.5, _above_zero, "seconds between two announcements of rows"),
    Setting("flush_watched", 0.1, _above_zero, "the same while somebody watches the scan"),
    Setting("view", "auto", _view, f"how a running scan is shown: {', '.join(VIEWS)}"),
)
"""What can be configured, beside the table ``[experiment]``."""


@dataclass(frozen=True)
class Configuration:
    """The values of one session and where each of them comes from.

    Attributes
    ----------
    beamline, data, tiled, database, mains_frequency, flush, flush_watched, view
        See `SETTINGS`.
    experiment
        The table ``[experiment]`` of the file: who measures what for whom.
    logbook
        The table ``[logbook]`` of the file: where runs and notes are told of.
    file
        The file that was read, or None.
    origins
        Name of a setting -> where its value comes from.

    Examples
    --------
    >>> configuration = load_configuration(Path("/"), {"GLIDEPATH_MAINS_FREQUENCY": "60"})
    >>> configuration.mains_frequency, configuration.origins["mains_frequency"]
    (60.0, 'GLIDEPATH_MAINS_FREQUENCY')
    """

    beamline: str
    data: Path
    tiled: str | None
    database: str | None
    mains_frequency: float
    flush: float
    flush_watched: float
    view: str
    experiment: Mapping[str, Any] = field(default_factory=dict)
    logbook: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)


def load_configuration(
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **given: Any,
) -> Configuration:
    """Return what holds for a session that is started in a folder.

    Parameters
    ----------
    folder
        Where to look for the file, and then upwards; None: the current folder.
    environment
        Variables; None: those of this process.
    given
        Values that the user gave by hand, by name; None: not given.

    Raises
    ------
    ConfigurationError
        If the file or a variable says what cannot be; it names the place.
    """
    environment = os.environ if environment is None else environment
    file = _find(Path.cwd() if folder is None else Path(folder))
    written = {} if file is None else _read(file)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        name = setting.name
        if given.get(name) is not None:
            values[name] = _parsed(setting, given[name], "what was given")
            origins[name] = "given"
        elif environment.get(setting.variable):
            value = environment[setting.variable]
            values[name] = _parsed(setting, value, setting.variable)
            origins[name] = setting.variable
        elif name in written:
            values[name] = _parsed(setting, written[name], str(file))
            origins[name] = str(file)
        else:
            values[name], origins[name] = setting.default, "default"
    if file is not None and origins["data"] == str(file):
        # A path in a file is meant from where the file is, not from where somebody stands.
        values["data"] = file.parent / values["data"]
    tables = {name: written.get(name, {}) for name in ("experiment", "logbook")}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"[{name}] of {file} must be a table of keys and values.")
    return Configuration(**values, **tables, file=file, origins=origins)


def _find(folder: Path) -> Path | None:
    for place in (folder, *folder.resolve().parents):
        if (place / FILE_NAME).is_file():
            return place / FILE_NAME
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as content:
            written = tomllib.load(content)
    except OSError as error:
        raise ConfigurationError(
            f"The configuration {file} cannot be read ({error.strerror}); check its rights."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The configuration {file} is no TOML: {error}.") from error
    known = [*(setting.name for setting in SETTINGS), "experiment", "logbook"]
    for name in written:
        if name not in known:
            raise ConfigurationError(
                f"The configuration {file} sets {name!r}; what can be set is {', '.join(known)}."
            )
    return written


def _parsed(setting: Setting, value: Any, where: str) -> Any:
    try:
        return setting.parse(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{setting.name} ({setting.meaning}) cannot be {value!r}, as {where} says: {error}."
        ) from error


__all__ = ["FILE_NAME", "SETTINGS", "Configuration", "ConfigurationError", "load_configuration"]
