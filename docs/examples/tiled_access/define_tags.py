"""Defines in a catalogue who may see what; run it again when people or proposals change."""

import asyncio
import sys
from pathlib import Path

from tiled.access_control.access_tags import AccessTagsCompiler
from tiled.access_control.scopes import ALL_SCOPES
from tiled.server.connection_pool import close_database_connection_pool
from tiled.server.settings import DatabaseSettings
from tiled.utils import ensure_specified_sql_driver


def no_groups(name: str) -> list[str]:
    """Return the members of a group; a facility asks its directory here."""
    raise KeyError(name)


async def define(tags: Path, database: str) -> None:
    """Write the definitions of a file into the database of a catalogue."""
    settings = DatabaseSettings(uri=ensure_specified_sql_driver(database))
    compiler = AccessTagsCompiler(set(ALL_SCOPES), tags, settings, no_groups)
    compiler.load_tag_config()
    await compiler.compile()
    await close_database_connection_pool(settings)


if __name__ == "__main__":
    asyncio.run(define(Path(sys.argv[1]), sys.argv[2]))
