"""Lets SQLite use the indexes of a catalogue: they need the key in the query, not beside it.

Tiled sends ``JSON_EXTRACT(nodes.metadata, ?)`` with the key as a parameter, for which SQLite has no
index whatever it is. For the keys of `INDEXED` the key is written into the statement. PostgreSQL
plans with the parameters and needs none of this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from glidepath.catalog.database import INDEXED, sqlite_path

PLAIN = "JSON_EXTRACT(nodes.metadata, ?)"
"""A key in a condition, as Tiled has it."""
ORDERED = "JSON_QUOTE(JSON_EXTRACT(JSON_QUOTE(JSON_EXTRACT(nodes.metadata, ?)), ?))"
"""A key of two parts in an order: the runs by their time."""

_KEY = re.compile(f"{re.escape(ORDERED)}|{re.escape(PLAIN)}|\\?")
_PATHS = {sqlite_path(key): key for key in INDEXED}


def use_indexes() -> None:
    """Let the queries of this process have the indexed keys in their statements."""
    from sqlalchemy import Engine, event

    event.listen(Engine, "before_cursor_execute", _with_keys, retval=True)


def _with_keys(
    connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
) -> tuple[str, Any]:
    if connection.dialect.name != "sqlite" or many or "nodes.metadata, ?" not in statement:
        return statement, parameters
    return with_keys(statement, parameters)


def with_keys(statement: str, parameters: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Return a statement with the indexed keys in it, and the parameters that are left.

    Examples
    --------
    >>> with_keys("... where JSON_EXTRACT(nodes.metadata, ?) = ?", ['$."start"."scan_id"', 7])
    ('... where JSON_EXTRACT(nodes.metadata, \\'$."start"."scan_id"\\') = ?', (7,))
    """
    waiting = list(parameters)
    left: list[Any] = []

    def keep(found: str) -> str:
        for _ in range(found.count("?")):
            left.append(waiting.pop(0))
        return found

    def replaced(match: re.Match[str]) -> str:
        found = match[0]
        if found == ORDERED:
            path = f"{waiting[0]}{str(waiting[1]).removeprefix('$')}"
        else:
            path = str(waiting[0]) if found == PLAIN else ""
        if path not in _PATHS:
            return keep(found)
        del waiting[: found.count("?")]
        return f"JSON_EXTRACT(nodes.metadata, '{path}')"

    return _KEY.sub(replaced, statement), tuple(left)


__all__ = ["use_indexes", "with_keys"]
