"""Starts or joins the Tiled server of a data directory: one process, which all its users share."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from glidepath.catalog.connection import PAGE_PATH, open_catalog
from glidepath.catalog.database import PostgreSQL
from glidepath.catalog.errors import CatalogError
from glidepath.catalog.lease import Lease, LeaseError
from glidepath.catalog.server_configuration import (
    EXPORTERS,
    REMEMBERED,
    Exporter,
    ServerConfiguration,
)
from glidepath.catalog.server_process import CONFIGURATION, OURS
from glidepath.storage import FileLock

FOLDER = "tiled"
"""Name of the server's own folder below the data root."""

START_TIMEOUT = 300.0
"""Seconds in which a server must answer: it needs five on an idle machine, and many on a busy one.
A server that has ended is noticed at once."""
JOIN_TIMEOUT = 60.0
"""Seconds in which a server that is just starting or ending must let us in, or be gone."""
STOP_TIMEOUT = 10.0

_left_running: list[subprocess.Popen[bytes]] = []
"""Servers that this process has started and others still use."""


class LocalTiledServer:
    """A Tiled server on this machine's loopback address, with its databases beside the data.

    One server serves a data directory. Whoever starts this object while there is one joins it; it
    ends with the last of its users. The catalogue is SQLite and tables of events are DuckDB, or
    both are in PostgreSQL; updates are pushed from memory. The API key is new at each start and is
    kept in a file that only this user can read; other processes of the same user find the server
    with `open_local_catalog`.

    Parameters
    ----------
    data_root
        Folder of the data files; the server keeps its own files in ``<data_root>/tiled``.
    readable
        More folders with data files, e.g. where a camera's computer writes.
    port
        TCP port; None takes a free one, or that of the server that there is.
    exporters
        File formats beyond Tiled's own and `EXPORTERS`; a server that there is keeps its own.
    database
        Address of a PostgreSQL database that holds the catalogue and the tables of events; it is
        made and migrated when needed. None: where the catalogue of the data directory is, at first
        a file of it.

    Raises
    ------
    CatalogError
        The address of the database is none, or holds a password.

    Examples
    --------
    >>> with LocalTiledServer(Path("/data")) as server:  # doctest: +SKIP
    ...     print(server.web_url, len(server.client()))
    """

    def __init__(
        self,
        data_root: Path,
        readable: Sequence[Path] = (),
        port: int | None = None,
        exporters: Sequence[Exporter] = (),
        database: str | None = None,
    ) -> None:
        self.data_root = Path(data_root).resolve()
        self.readable = (self.data_root, *(Path(path).resolve() for path in readable))
        self._wanted_port = port
        self._exporters = (*EXPORTERS, *exporters)
        self.database = None if database is None else PostgreSQL.of(database)
        self._process: subprocess.Popen[bytes] | None = None
        self._process_id: int | None = None
        self._lease: Lease | None = None
        self._port: int | None = None
        self._api_key: str | None = None
        self._refusal: CatalogError | None = None

    @property
    def folder(self) -> Path:
        """Where the server keeps databases, configuration and log."""
        return self.data_root / FOLDER

    @property
    def log_file(self) -> Path:
        """The log of the last start."""
        return self.folder / "server.log"

    @property
    def uri(self) -> str:
        """Address for clients, without the key."""
        if self._port is None:
            raise CatalogError("The Tiled server is not started; call start() first.")
        return f"http://127.0.0.1:{self._port}/api/v1"

    @property
    def api_key(self) -> str:
        """The key that allows reading and writing."""
        if self._api_key is None:
            raise CatalogError("The Tiled server is not started; call start() first.")
        return self._api_key

    @property
    def web_url(self) -> str:
        """Address for a browser, with the key."""
        return f"{self.uri.removesuffix('/api/v1')}/?api_key={self.api_key}"

    @property
    def process_id(self) -> int | None:
        """Process id of the server while it runs."""
        ended = self._process is not None and self._process.poll() is not None
        if self._lease is None or ended or not self._lease.alive:
            return None
        return self._process_id

    def start(self) -> Self:
        """Join the server of the data directory, or start its process; do not wait for its answer.

        Raises
        ------
        CatalogError
            The folder cannot be written, a server that cannot be joined uses it, or the port is
            taken.
        """
        if self.process_id is not None:
            return self
        self._let_go()
        self._refusal = None
        self._make_folder()
        self._agree_on_database()
        lock = FileLock(self.folder / "server.lock")
        deadline = time.monotonic() + JOIN_TIMEOUT
        while True:
            try:
                lock.acquire()
            except BlockingIOError as error:
                if self.join() is not None:
                    return self
                if time.monotonic() > deadline:
                    raise CatalogError(
                        f"The Tiled server of {self.data_root} does not let anybody in; end its "
                        "process, or choose another data directory."
                    ) from error
                time.sleep(0.05)
            except OSError as error:
                raise self._unusable(error) from error
            else:
                with lock:
                    if lock.stands_in:
                        # A scan can do without: that is said when the server is waited for.
                        self._refusal = self._no_locks()
                    else:
                        self._spawn(lock)
                return self

    def wait_ready(self, timeout: float = START_TIMEOUT) -> Self:
        """Wait until the server answers.

        Parameters
        ----------
        timeout
            Seconds to wait at most.

        Raises
        ------
        CatalogError
            The server ended, or did not answer in time; the text ends with its log's last line.
            Or there can be none, because the file system has no locks.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._lease is None:
            raise CatalogError("The Tiled server is not started; call start() first.")
        health = f"{self.uri.removesuffix('/api/v1')}/healthz"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + timeout
        while True:
            remaining = deadline - time.monotonic()
            if self.process_id is None:
                raise CatalogError(
                    f"The Tiled server for {self.data_root} ended{self._status()}: "
                    f"{self._last_words()}"
                )
            if remaining <= 0:
                raise CatalogError(
                    f"The Tiled server for {self.data_root} does not answer after {timeout:g} s; "
                    f"the last line of its log: {self._last_words()}"
                )
            # The socket listens already: the request waits in its queue until it is served.
            # When the process ends, the connection breaks at once.
            try:
                with direct.open(health, timeout=remaining):
                    break
            except OSError:
                # The end of a process can be seen a little later than the end of its socket.
                time.sleep(0.1)
        if self.database is not None:
            (self.folder / REMEMBERED).write_text(f"{self.database}\n")
        return self

    def client(self) -> Any:
        """Return a new Tiled client of this server, with the right to write."""
        return open_catalog(self.uri, self.api_key)

    def check_readable(self, path: Path) -> None:
        """Raise if the server would refuse to serve this file, before a scan fills it.

        Raises
        ------
        CatalogError
            The file is outside of the folders that the server may read.
        """
        if not any(Path(path).resolve().is_relative_to(root) for root in self.readable):
            folders = ", ".join(map(str, self.readable))
            raise CatalogError(
                f"The Tiled server may not read {path}, only what is below {folders}; put the "
                "file there or start the server with its folder as readable."
            )

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Stop using the server, and wait for its end if nobody else uses it.

        Parameters
        ----------
        timeout
            Seconds to wait. A server that this process has started and that does not answer in
            that time is of no use to anybody, and is killed. Calling it twice is safe.
        """
        lease, self._lease = self._lease, None
        process, self._process = self._process, None
        last = None if lease is None else lease.give_back(timeout)
        if process is None:
            if last:
                self._wait_for_lock(timeout)
        elif last is False:
            _left_running.append(process)
        else:
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        self.start()
        try:
            return self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _let_go(self) -> None:
        """Forget a server that has ended, and look after those that others have used."""
        if self._lease is not None:
            self._lease.drop()
            self._lease = None
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)
            self._process = None
        _left_running[:] = [process for process in _left_running if process.poll() is None]

    def _make_folder(self) -> None:
        try:
            (self.folder / "data").mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> CatalogError:
        return CatalogError(
            f"The Tiled server cannot keep its files in {self.folder} ({error.strerror}); "
            "choose a data root that you can write to."
        )

    def _no_locks(self) -> CatalogError:
        return CatalogError(
            f"The file system of {self.data_root} has no locks, which the databases of a Tiled "
            "server need; give the address of a Tiled server that keeps its databases elsewhere, "
            "or another data directory."
        )

    def join(self) -> Lease | None:
        """Become a user of the server that there is; None if there is none that takes any.

        Raises
        ------
        CatalogError
            If it is one of another computer, or has not the folders or the port that are wanted.
        """
        try:
            configuration = json.loads((self.folder / CONFIGURATION).read_text())
            ours = configuration[OURS]
            key = configuration["authentication"]["single_user_api_key"]
            self._check_joinable(ours)
            lease = Lease(ours["lease_port"], key)
            process_id = lease.confirm(JOIN_TIMEOUT)
        except (OSError, ValueError, KeyError, LeaseError) as error:
            if isinstance(error, CatalogError):
                raise
            return None
        self._lease = lease
        self._port, self._api_key = ours["port"], key
        self._process_id = process_id
        return lease

    def _check_joinable(self, ours: dict[str, Any]) -> None:
        if ours["host"] != socket.gethostname():
            raise CatalogError(
                f"The computer {ours['host']} runs the Tiled server of {self.data_root}; scan "
                "there, or give the address of a Tiled server that both computers reach."
            )
        if self._wanted_port not in (None, ours["port"]):
            raise CatalogError(
                f"A Tiled server serves {self.data_root} already, at port {ours['port']}; use "
                f"that port, or end what uses it before you ask for port {self._wanted_port}."
            )
        if self.database is not None and ours["database"] != str(self.database):
            raise CatalogError(
                f"The Tiled server of {self.data_root} runs already with another catalogue; end "
                f"what uses it and start it with {self.database}."
            )
        missing = [str(path) for path in self.readable if str(path) not in ours["readable"]]
        if missing:
            raise CatalogError(
                f"The Tiled server of {self.data_root} runs already and may not read "
                f"{', '.join(missing)}; end what uses it and start it with these folders."
            )

    def _spawn(self, lock: FileLock) -> None:
        """Start the process, which inherits the lock, and become its first user."""
        listener, leases = self._listen(self._wanted_port), self._listen(None)
        self._port = listener.getsockname()[1]
        self._api_key = secrets.token_hex(32)
        self._write_configuration(leases.getsockname()[1])
        # A Tiled setting in the environment would overrule the configuration file.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TILED_")}
        if "PYTHONPATH" in environment:  # the process works in another directory
            parts = environment["PYTHONPATH"].split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, parts))
        # It only reads the files of scans: a lock of a reader could stop their writer.
        environment["HDF5_USE_FILE_LOCKING"] = "FALSE"
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with listener, leases, open(log, "wb") as log_file:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "glidepath.catalog.server_process",
                    str(listener.fileno()),
                    str(leases.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                env=environment,
                cwd=self.folder,
                pass_fds=[listener.fileno(), leases.fileno(), lock.descriptor],
                # Ctrl-C in the terminal pauses the scan; it must not end the server.
                start_new_session=True,
            )
            self._process_id = self._process.pid
            self._lease = Lease(leases.getsockname()[1], self._api_key)

    def _listen(self, port: int | None) -> socket.socket:
        try:
            return socket.create_server(("127.0.0.1", port or 0), backlog=128)
        except OSError as error:
            raise CatalogError(
                f"Port {port} of this machine cannot be used for the Tiled server "
                f"({error.strerror}); choose another one, or none for a free one."
            ) from error

    def _write_configuration(self, lease_port: int) -> None:
        assert self._port is not None
        assert self._api_key is not None
        configuration = ServerConfiguration(
            self.folder,
            self.readable,
            self._port,
            lease_port,
            self._api_key,
            self.database,
            self._exporters,
        )
        path = self.folder / CONFIGURATION
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            json.dump(configuration.to_json(), file, indent=2)

    def _agree_on_database(self) -> None:
        """Take the catalogue where it is: in PostgreSQL, if it was there before."""
        remembered = remembered_database(self.data_root)
        if self.database is None:
            self.database = remembered
        elif remembered not in (None, self.database):
            raise CatalogError(
                f"The catalogue of {self.data_root} is in {remembered}, not in {self.database}; "
                f"if it was moved there, remove {self.folder / REMEMBERED} first."
            )

    def _status(self) -> str:
        status = None if self._process is None else self._process.returncode
        return "" if status is None else f" with status {status}"

    def _wait_for_lock(self, timeout: float) -> None:
        """Wait until a server that somebody else has started has ended."""
        lock = FileLock(self.folder / "server.lock")
        with contextlib.suppress(OSError):
            lock.acquire(timeout=timeout)
            lock.release()

    def _last_words(self) -> str:
        lines = [
            line.strip()
            for line in self.log_file.read_text(errors="replace").splitlines()
            if line.strip() and "Application startup failed" not in line
        ]
        return lines[-1] if lines else "(the log is empty)"


def page_url(server: LocalTiledServer) -> str:
    """Return the address for a browser of the page that lists and downloads runs, with the key."""
    return server.web_url.replace("/?", f"{PAGE_PATH}?", 1)


def open_local_catalog(data_root: Path) -> Any:
    """Connect to the server that another process of this user runs for a data root.

    The server stays for whoever has opened it so: until the catalogue's HTTP client is closed, or
    nothing that was made of the catalogue is in use any more.

    Returns
    -------
    tiled.client.container.Container
        The catalogue.

    Raises
    ------
    CatalogError
        No server runs there.
    """
    server = LocalTiledServer(data_root)
    lease = server.join()
    if lease is None:
        raise CatalogError(
            f"No Tiled server runs for {data_root}; start one, or name the address of yours."
        )
    try:
        client = server.client()
    except BaseException:
        lease.drop()
        raise
    _drop_with(client.context, lease)
    return client


def _drop_with(context: Any, lease: Lease) -> None:
    """Give a lease back when a Tiled client's connections are closed, or it is used no more."""
    http_client = context.http_client
    close = http_client.close

    def close_both() -> None:
        close()
        lease.drop()

    http_client.close = close_both
    # Notebooks and scripts seldom close what they have opened.
    weakref.finalize(context, close_both)


def remembered_database(data_root: Path) -> PostgreSQL | None:
    """Return where the catalogue of a data directory is, if it is in PostgreSQL.

    Raises
    ------
    CatalogError
        The file that says so is damaged.
    """
    try:
        return PostgreSQL.of((Path(data_root) / FOLDER / REMEMBERED).read_text().strip())
    except FileNotFoundError:
        return None
