"""Metadata of the run engine that last from session to session: ``RE.md``."""

import json
import logging
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

FILE_NAME = "metadata.json"

OWN = ("scan_id", "versions")
"""Keys that the run engine writes anew in every session."""

_log = logging.getLogger(__name__)


class LastingMetadata(MutableMapping[str, Any]):
    """A dictionary that is kept in a file of the data directory.

    Parameters
    ----------
    folder
        The data directory.

    Raises
    ------
    ValueError
        When a value is set that cannot be written as JSON.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE_NAME
        self._values: dict[str, Any] = {}
        try:
            written = json.loads(self._file.read_text())
        except FileNotFoundError:
            written = {}
        except (OSError, ValueError) as error:
            # A spoilt file must not keep anybody from measuring.
            _log.warning("%s cannot be read and is begun anew: %s", self._file, error)
            written = {}
        if isinstance(written, dict):
            self._values.update(written)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key in OWN:
            self._values[key] = value
            return
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"RE.md[{key!r}] must be text, numbers, lists and dictionaries, not {value!r}."
            ) from error
        self._values[key] = value
        self._write()

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._write()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def _write(self) -> None:
        kept = {key: value for key, value in self._values.items() if key not in OWN}
        beside = self._file.with_name(f".{FILE_NAME}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(kept, indent=2) + "\n")
            beside.replace(self._file)
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._file, error)


__all__ = ["FILE_NAME", "LastingMetadata"]
