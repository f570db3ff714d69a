"""The database of a catalogue: made where there is none, brought up to date, and indexed.

Runs in the local Tiled server's own process. A file (SQLite) serves one data directory; PostgreSQL
serves a beamline. Secrets are not ours: PostgreSQL's own variable ``PGPASSWORD`` and its file
``~/.pgpass`` hold the password, and both of Tiled's drivers read them.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from glidepath.catalog.errors import CatalogError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

FORM = "postgresql://user@host:5432/database"
"""What a database's address looks like."""

CONNECT_TIMEOUT = 10.0
"""Seconds in which PostgreSQL must answer."""

LOCK_KEY = 0x676C6964
"""Number of the lock under which one server makes or migrates a database, others wait."""

PLACES = ("host", "port", "user", "dbname")
"""Parts of a query that say where a database is, as PostgreSQL's own library knows them."""

INDEXED = (
    "start.time",
    "start.scan_id",
    "start.uid",
    "start.plan_name",
    "start.sample.name",
    "start.element",
    "start.edge",
    "start.user_name",
    "start.username",
    "start.proposal.proposal_id",
    "stop.exit_status",
)
"""Keys of a run's metadata that have an index of their own."""


@dataclass(frozen=True)
class PostgreSQL:
    """Where a PostgreSQL database is; no password.

    Parameters
    ----------
    name
        The database.
    host
        Computer, or the folder of the server's socket; an empty text: PostgreSQL's default.
    port
        TCP port; None: PostgreSQL's default.
    user
        Role; an empty text: PostgreSQL's default.
    """

    name: str
    host: str = ""
    port: int | None = None
    user: str = ""

    @classmethod
    def of(cls, address: str) -> PostgreSQL:
        """Read an address such as ``postgresql://user@host:5432/database``.

        Raises
        ------
        CatalogError
            It is none, or it holds a password.
        """
        try:
            parts = urlsplit(address)
            port = parts.port
            query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise _no_address("what was given") from error
        if parts.password is not None or "password" in query:
            raise CatalogError(
                "A database's address must hold no password, which others could read in it; set "
                f"PGPASSWORD or keep it in ~/.pgpass, and give {FORM}."
            )
        unknown = sorted(set(query) - set(PLACES))
        name = query.get("dbname") or unquote(parts.path.removeprefix("/"))
        if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
            raise _no_address(repr(address))
        if not re.fullmatch(r"[\w.~-]+", name, re.ASCII) or unknown:
            # Tiled's two drivers do not agree on how other names are written in an address.
            raise _no_address(repr(address))
        if "port" in query and not query["port"].isdecimal():
            raise _no_address(repr(address))
        return cls(
            name,
            query.get("host") or parts.hostname or "",
            int(query["port"]) if "port" in query else port,
            query.get("user") or unquote(parts.username or ""),
        )

    def __str__(self) -> str:
        """Return the address as people write it."""
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        port = "" if self.port is None else f":{self.port}"
        if "/" in self.host:
            port = "" if self.port is None else f"&port={self.port}"
            return f"postgresql://{user}/{quote(self.name)}?host={quote(self.host)}{port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{user}{host}{port}/{quote(self.name)}"

    @property
    def uri(self) -> str:
        """The address as both of Tiled's drivers take it.

        The role is in the query: of one before the host Tiled makes ``role:None``, and the
        server is asked with the password "None".
        """
        places = {"host": self.host, "port": self.port, "user": self.user}
        query = urlencode({key: value for key, value in places.items() if value})
        return f"postgresql:///{quote(self.name)}{'?' * bool(query)}{query}"

    @property
    def where(self) -> str:
        """What is said of the server in sentences."""
        return f"{self.host or 'this machine'}{'' if self.port is None else f':{self.port}'}"


def _no_address(given: str) -> CatalogError:
    return CatalogError(
        f"The address of a database is {FORM}, with letters, digits, dots and dashes in its name, "
        f"which {given} is not."
    )


def prepare_sqlite(file: Path) -> None:
    """Make or migrate the tables of a file; a half-made one never gets the final name.

    Before a migration the file is copied beside.
    """
    if file.exists():
        asyncio.run(_up_to_date(f"sqlite+aiosqlite:///{file}", backup=file))
        return
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    asyncio.run(_up_to_date(f"sqlite+aiosqlite:///{unfinished}"))
    unfinished.replace(file)


def prepare_postgresql(database: PostgreSQL) -> None:
    """Make a database and its tables where there are none, or migrate them.

    Raises
    ------
    CatalogError
        The server does not answer, refuses the user, or does not let the user make a database.
    """
    asyncio.run(_prepare_postgresql(database))


async def _prepare_postgresql(database: PostgreSQL) -> None:
    from sqlalchemy.exc import DBAPIError

    lock = await _connected(database)
    try:
        # Several servers may serve one database and start at once.
        await lock.execute("select pg_advisory_lock($1)", LOCK_KEY)
        await _up_to_date(database.uri.replace("postgresql:", "postgresql+asyncpg:", 1))
    except DBAPIError as error:
        raise CatalogError(
            f"The database {database} does not let its tables be made: "
            f"{_one_line(error.orig or error)}; give its user the right to."
        ) from error
    finally:
        await lock.close()


async def _connected(database: PostgreSQL) -> Any:
    """Return a connection of asyncpg; the database is made if there is none."""
    import asyncpg

    try:
        return await _connect(database)
    except asyncpg.InvalidCatalogNameError:
        await _create(database)
        return await _connect(database)


async def _connect(database: PostgreSQL, name: str | None = None) -> Any:
    import asyncpg

    try:
        return await asyncpg.connect(
            host=database.host or None,
            port=database.port,
            user=database.user or None,
            database=name or database.name,
            timeout=CONNECT_TIMEOUT,
        )
    except asyncpg.InvalidCatalogNameError:
        raise
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InterfaceError) as error:
        raise CatalogError(
            f"PostgreSQL on {database.where} refuses the user {database.user or 'of this account'} "
            f"({_one_line(error)}); set PGPASSWORD or an entry in ~/.pgpass."
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise CatalogError(
            f"No PostgreSQL can be used on {database.where} ({_one_line(error)}); start it, or "
            "check the address."
        ) from error


async def _create(database: PostgreSQL) -> None:
    import asyncpg

    connection = await _connect(database, "postgres")
    name = database.name.replace('"', '""')
    try:
        await connection.execute(f'create database "{name}"')
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass  # another server was quicker
    except asyncpg.PostgresError as error:
        raise CatalogError(
            f"There is no database {database.name!r} on {database.where}, and it cannot be made "
            f"({_one_line(error)}); let its administrator make it for this user."
        ) from error
    finally:
        await connection.close()


async def _up_to_date(uri: str, backup: Path | None = None) -> None:
    """Make or migrate Tiled's tables, and our indexes on them."""
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.alembic_utils import (
        DatabaseUpgradeNeeded,
        UninitializedDatabase,
        check_database,
        stamp_head,
        upgrade,
    )
    from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
    from tiled.catalog.core import ALL_REVISIONS, REQUIRED_REVISION, initialize_database

    template, migrations = Path(ALEMBIC_INI_TEMPLATE_PATH), Path(ALEMBIC_DIR)
    engine = create_async_engine(uri)
    try:
        try:
            await check_database(engine, REQUIRED_REVISION, ALL_REVISIONS)
        except UninitializedDatabase:
            with _extension_may_be_there(engine):
                await initialize_database(engine)
            # In a thread: Alembic runs a loop of its own.
            await asyncio.to_thread(stamp_head, template, migrations, uri)
        except DatabaseUpgradeNeeded:
            if backup is not None:
                shutil.copyfile(backup, _beside(backup))
            await asyncio.to_thread(upgrade, template, migrations, uri, "head")
        async with engine.begin() as connection:
            await _index(connection)
    finally:
        await engine.dispose()


def _beside(file: Path) -> Path:
    number = 1
    while (copy := file.with_suffix(f".before-migration-{number}{file.suffix}")).exists():
        number += 1
    return copy


class _extension_may_be_there:  # noqa: N801 (a context, used as a function)
    """Let Tiled's tables be made in a database whose administrator has made its extension."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.sync_engine

    def __enter__(self) -> None:
        from sqlalchemy import event

        event.listen(self._engine, "before_cursor_execute", _if_not_exists, retval=True)

    def __exit__(self, *_: object) -> None:
        from sqlalchemy import event

        event.remove(self._engine, "before_cursor_execute", _if_not_exists)


def _if_not_exists(
    _c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any
) -> tuple[str, Any]:
    wanted = "create extension if not exists "
    return statement.replace("create extension ", wanted, 1), parameters


async def _index(connection: AsyncConnection) -> None:
    from sqlalchemy import text

    for statement in index_statements(connection.dialect.name):
        await connection.execute(text(statement))


def index_statements(dialect: str) -> Iterator[str]:
    """Yield what makes the indexes of `INDEXED`, for ``"sqlite"`` or ``"postgresql"``.

    They have the very expressions that Tiled's queries have. In PostgreSQL Tiled's own index of
    all metadata answers what is equal; only order and ranges of time need one more.
    """
    for key in INDEXED if dialect == "sqlite" else INDEXED[:1]:
        name = "glidepath_" + key.replace(".", "_")
        path = key.split(".")
        if dialect == "postgresql":
            expression = f"(metadata #> '{{{','.join(path)}}}'::text[])"
        else:
            expression = f"JSON_EXTRACT(metadata, '{sqlite_path(key)}')"
        yield f"create index if not exists {name} on nodes (parent, {expression})"


def sqlite_path(key: str) -> str:
    """Return a key of the metadata, such as ``start.time``, as SQLAlchemy writes it for SQLite."""
    return "$" + "".join(f'."{part}"' for part in key.split("."))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


__all__ = [
    "FORM",
    "INDEXED",
    "PostgreSQL",
    "index_statements",
    "prepare_postgresql",
    "prepare_sqlite",
    "sqlite_path",
]
