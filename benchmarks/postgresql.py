"""A PostgreSQL server of its own, on a free port of the loopback, for measurements and tests."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

USER = "glide"
ACCOUNT = "postgres"
"""Account that the server runs under where we are root, which it refuses."""


def binaries() -> Path | None:
    """Return the folder with ``initdb`` and ``pg_ctl``, or None."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


class PostgreSQLServer:
    """Starts a server with an empty cluster and ends it; passwords are checked (SCRAM)."""

    def __init__(self) -> None:
        found = binaries()
        if found is None:
            raise FileNotFoundError("There is no PostgreSQL on this machine; install it.")
        self._binaries = found
        self.password = secrets.token_hex(8)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.folder = Path(tempfile.mkdtemp(prefix="glidepath-postgresql-"))

    @property
    def version(self) -> str:
        """What the server says of itself."""
        return self._run("postgres", "--version").strip()

    def address(self, database: str, user: str = USER) -> str:
        """Return the address of one of its databases."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.getuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, ACCOUNT)
        checked = ["--auth=scram-sha-256", f"--pwfile={secret}"]
        self._run("initdb", "-D", self._data, "-U", USER, "-E", "UTF8", *checked)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        """End it as an administrator does: who is connected is thrown out."""
        self._run("pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement; return what it answers."""
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        return self._run("psql", *place, "-Atc", statement, PGPASSWORD=self.password).strip()

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str, **variables: str) -> str:
        account = {"user": ACCOUNT, "group": ACCOUNT} if os.getuid() == 0 else {}
        with tempfile.TemporaryFile("w+") as said:
            # Not a pipe: the server would hold it open.
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                stdout=said,
                stderr=said,
                cwd=self.folder,
                env=os.environ | variables,
                timeout=120,
                **account,
            )
            said.seek(0)
            text = said.read()
        if done.returncode:
            raise RuntimeError(f"{program} ended with status {done.returncode}: {text}")
        return text
