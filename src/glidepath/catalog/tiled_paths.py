"""Lets Tiled's server work in folders whose names have ``?``, ``#``, ``%`` or blanks in them.

Tiled makes URIs of paths without quoting them, and paths of URIs without taking the quotes off
again. Both functions are replaced, in the server's own process, before anything imports them.
"""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import tiled.utils

_ORIGINAL = tiled.utils.ensure_uri


def ensure_uri(uri_or_path: Path | str) -> str:
    """Return a URI: as Tiled's own function does, but with a path quoted."""
    if tiled.utils.SCHEME_PATTERN.match(str(uri_or_path)):
        return str(_ORIGINAL(uri_or_path))
    return f"file://localhost{quote(str(Path(uri_or_path).absolute()))}"


def path_from_uri(uri: str) -> Path:
    """Return the path of a URI: as Tiled's own function does, but with the quotes taken off.

    Raises
    ------
    ValueError
        The URI names no file.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme in ("sqlite", "duckdb"):
        return Path(unquote(parts.path[1:]))
    raise ValueError(f"{uri} names no file: its scheme is none of file, sqlite and duckdb.")


def quote_paths() -> None:
    """Let this process's Tiled quote paths. To be called before its server is imported."""
    tiled.utils.ensure_uri = ensure_uri
    tiled.utils.path_from_uri = path_from_uri


__all__ = ["ensure_uri", "path_from_uri", "quote_paths"]
