"""What runs in the local Tiled server's own process: `LocalTiledServer` starts it.

It serves the same application as ``tiled serve config``, with four differences: it makes the
database itself when there is none, it uses the socket that its parent has opened (so there is no
race for a port), it prints no API key, and it ends when its parent has ended, however that came.
"""

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TextIO

PARENT_POLL_PERIOD = 0.5
LOCK_TIMEOUT = 3.0


def main(config_file: Path, socket_number: int, parent: int) -> None:
    """Serve until a signal comes or the parent process is gone.

    Parameters
    ----------
    config_file
        Tiled's configuration (JSON, which is also YAML).
    socket_number
        File descriptor of a listening TCP socket, inherited.
    parent
        Process id of the owner.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True, name="parent watch").start()
    listener = socket.socket(fileno=socket_number)
    lock = hold_folder(config_file.parent)
    config = json.loads(config_file.read_text())
    _initialise(Path(config["catalog"]["uri"].removeprefix("sqlite:///")))

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
    lock.close()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_PERIOD)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5 * PARENT_POLL_PERIOD)
    os._exit(1)


def hold_folder(folder: Path) -> TextIO:
    """Lock the server's folder, until the returned file is closed or the process ends.

    Two servers on one SQLite and DuckDB pair would spoil each other.

    Raises
    ------
    BlockingIOError
        Another server holds it; the text is its process id.
    """
    file = (folder / "server.lock").open("a+")
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A server whose owner was killed takes a moment to end.
            if time.monotonic() > deadline:
                file.seek(0)
                holder = file.read().strip()
                file.close()
                raise BlockingIOError(holder) from None
            time.sleep(0.1)
        else:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file


def _initialise(database: Path) -> None:
    """Make the catalogue's tables, once; a half-made file never gets the final name."""
    if database.exists():
        return
    unfinished = database.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)

    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.alembic_utils import stamp_head
    from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
    from tiled.catalog.core import initialize_database

    uri = f"sqlite+aiosqlite:///{unfinished}"

    async def create() -> None:
        engine = create_async_engine(uri)
        try:
            await initialize_database(engine)
        finally:
            await engine.dispose()

    asyncio.run(create())
    stamp_head(Path(ALEMBIC_INI_TEMPLATE_PATH), Path(ALEMBIC_DIR), uri)
    unfinished.replace(database)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    except Exception as error:
        # The owner shows the last line of the log.
        traceback.print_exc()
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
