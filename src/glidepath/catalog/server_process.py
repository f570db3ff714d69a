"""What runs in the local Tiled server's own process: `LocalTiledServer` starts it.

It serves the same application as ``tiled serve config``, with four differences: it makes the
database itself when there is none, it uses the sockets and the lock that its first user has opened
(so there is no race for a port or a folder), it prints no API key, and it ends when nobody uses it
any more.

Its working directory is the server's folder; whoever reads `CONFIGURATION` there finds it.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.lease import LeaseKeeper

CONFIGURATION = Path("config.yml")
"""Tiled's configuration (JSON, which is also YAML), with a part of our own."""
OURS = "glidepath"
"""Name of our own part of the configuration."""
DATABASE = Path("catalog.db")
"""The catalogue's own file, where it is not in PostgreSQL."""

_END_TIMEOUT = 5.0
"""Seconds in which the server must have ended by itself."""


def main(listener_number: int, lease_number: int) -> None:
    """Serve until nobody uses the server, or a signal comes.

    Parameters
    ----------
    listener_number, lease_number
        File descriptors of listening TCP sockets, inherited: for requests, and for the users'
        leases. The lock on the folder is inherited too, and held until the process ends.
    """
    config = json.loads(CONFIGURATION.read_text())
    ours = config.pop(OURS)
    listener = socket.socket(fileno=listener_number)
    key = config["authentication"]["single_user_api_key"]
    # Before all the imports, which take seconds: others who want to use it need not wait.
    LeaseKeeper(socket.socket(fileno=lease_number), key, _end).start()

    from glidepath.catalog.tiled_paths import quote_paths

    quote_paths()
    _prepare(ours["database"])

    import uvicorn
    from tiled.server.app import build_app_from_config
    from tiled.server.logging_config import LOGGING_CONFIG

    server = uvicorn.Server(
        uvicorn.Config(
            build_app_from_config(config),
            log_config=LOGGING_CONFIG,
            # The browser's address holds the key: requests are not logged.
            access_log=False,
            # Longer than the pauses of a writer, so that its connection is not closed under it.
            timeout_keep_alive=120,
            timeout_graceful_shutdown=2,
        )
    )
    server.run(sockets=[listener])


def _prepare(database: str | None) -> None:
    """Make the catalogue's tables, or bring them up to date."""
    from glidepath.catalog.database import PostgreSQL, prepare_postgresql, prepare_sqlite
    from glidepath.catalog.indexed_queries import use_indexes

    if database is None:
        prepare_sqlite(DATABASE)
        use_indexes()
    else:
        prepare_postgresql(PostgreSQL.of(database))


def _end() -> None:
    """End this process; called in the thread that counts the users."""
    _forget_configuration()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_TIMEOUT)
    os._exit(1)


def _forget_configuration() -> None:
    """Remove the key. The lock is held: the file is still this server's."""
    with contextlib.suppress(OSError):
        CONFIGURATION.unlink()


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]))
    except Exception as error:
        # The user shows the last line of the log.
        traceback.print_exc()
        said = " ".join(str(error).split())[:500]
        sys.exit(said if isinstance(error, CatalogError) else f"{type(error).__name__}: {said}")
    finally:
        _forget_configuration()
