"""Owns a local Tiled server: a process of its own that never outlives its owner."""

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from glidepath.catalog.connection import open_catalog
from glidepath.catalog.errors import CatalogError
from glidepath.catalog.server_process import hold_folder

FOLDER = "tiled"
"""Name of the server's own folder below the data root."""
_CONFIGURATION = "config.yml"


@dataclass(frozen=True)
class Exporter:
    """A file format that the server offers for download.

    Parameters
    ----------
    spec
        What it can export, e.g. ``"BlueskyRun"`` or a structure family such as ``"array"``.
    mimetype
        Media type of the result.
    extension
        File extension that selects it, without the dot.
    function
        Where the serialiser is, as ``"package.module:function"``, importable by the server.
    """

    spec: str
    mimetype: str
    extension: str
    function: str


class LocalTiledServer:
    """A Tiled server on this machine's loopback address, with its databases beside the data.

    The catalogue is SQLite, tables of events are DuckDB, updates are pushed from memory. The API
    key is new at each start and is kept in a file that only this user can read; other processes
    of the same user find the server with `open_local_catalog`.

    Parameters
    ----------
    data_root
        Folder of the data files; the server keeps its own files in ``<data_root>/tiled``.
    readable
        More folders with data files, e.g. where a camera's computer writes.
    port
        TCP port; None takes a free one.
    exporters
        File formats beyond Tiled's own.

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
    ) -> None:
        self.data_root = Path(data_root).resolve()
        self.readable = (self.data_root, *(Path(path).resolve() for path in readable))
        self._wanted_port = port
        self._exporters = tuple(exporters)
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._api_key: str | None = None

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
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if running and self._process else None

    def start(self) -> Self:
        """Start the server's process and return at once; `wait_ready` waits for it.

        Raises
        ------
        CatalogError
            The folder cannot be written, another server uses it, or the port is taken.
        """
        if self.process_id is not None:
            return self
        self._make_folder()
        listener = self._listen()
        self._port = listener.getsockname()[1]
        self._api_key = secrets.token_hex(32)
        self._write_configuration()
        # A Tiled setting in the environment would overrule the configuration file.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TILED_")}
        with (
            listener,
            open(os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log,
        ):
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "glidepath.catalog.server_process",
                    str(self.folder / _CONFIGURATION),
                    str(listener.fileno()),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[listener.fileno()],
                # Ctrl-C in the terminal pauses the scan; it must not end the server.
                start_new_session=True,
            )
        return self

    def wait_ready(self, timeout: float = 60.0) -> Self:
        """Wait until the server answers.

        Parameters
        ----------
        timeout
            Seconds to wait at most.

        Raises
        ------
        CatalogError
            The server ended, or did not answer in time; the text ends with its log's last line.
        """
        if self._process is None:
            raise CatalogError("The Tiled server is not started; call start() first.")
        health = f"{self.uri.removesuffix('/api/v1')}/healthz"
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + timeout
        while True:
            remaining = deadline - time.monotonic()
            if self._process.poll() is not None:
                raise CatalogError(
                    f"The Tiled server for {self.data_root} ended with status "
                    f"{self._process.returncode}: {self._last_words()}"
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
                    return self
            except (urllib.error.URLError, OSError):
                # The end of a process can be seen a little later than the end of its socket.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=0.1)

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

    def stop(self, timeout: float = 10.0) -> None:
        """End the server: ask first, kill after the timeout (seconds). Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        (self.folder / _CONFIGURATION).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.start()
        try:
            return self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _make_folder(self) -> None:
        try:
            (self.folder / "data").mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        except OSError as error:
            raise CatalogError(
                f"The Tiled server cannot keep its files in {self.folder} ({error.strerror}); "
                "choose a data root that you can write to."
            ) from error
        try:
            hold_folder(self.folder).close()
        except BlockingIOError as error:
            raise CatalogError(
                f"A Tiled server (process {error}) already serves {self.data_root}; use that one "
                "or choose another data root."
            ) from error

    def _listen(self) -> socket.socket:
        try:
            return socket.create_server(("127.0.0.1", self._wanted_port or 0), backlog=128)
        except OSError as error:
            raise CatalogError(
                f"Port {self._wanted_port} of this machine cannot be used for the Tiled server "
                f"({error.strerror}); choose another one, or none for a free one."
            ) from error

    def _write_configuration(self) -> None:
        media_types: dict[str, dict[str, str]] = {}
        for exporter in self._exporters:
            media_types.setdefault(exporter.spec, {})[exporter.mimetype] = exporter.function
        configuration = {
            "catalog": {
                "uri": f"sqlite:///{self.folder / 'catalog.db'}",
                "writable_storage": [
                    str(self.folder / "data"),
                    f"duckdb:///{self.folder / 'tables.duckdb'}",
                ],
                "readable_storage": [str(path) for path in self.readable],
                "init_if_not_exists": False,
                "adapters_by_mimetype": {
                    "application/x-hdf5": "glidepath.catalog.adapter:GrowingHDF5Adapter"
                },
            },
            "routers": ["glidepath.catalog.router:router"],
            "streaming_cache": {"uri": "memory"},
            "authentication": {
                "single_user_api_key": self.api_key,
                "allow_anonymous_access": False,
            },
            "media_types": media_types,
            "file_extensions": {e.extension: e.mimetype for e in self._exporters},
            "uvicorn": {"host": "127.0.0.1", "port": self._port},
        }
        path = self.folder / _CONFIGURATION
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            json.dump(configuration, file, indent=2)

    def _last_words(self) -> str:
        lines = [
            line.strip()
            for line in self.log_file.read_text(errors="replace").splitlines()
            if line.strip() and "Application startup failed" not in line
        ]
        return lines[-1] if lines else "(the log is empty)"


def open_local_catalog(data_root: Path) -> Any:
    """Connect to the server that another process of this user runs for a data root.

    Returns
    -------
    tiled.client.container.Container
        The catalogue.

    Raises
    ------
    CatalogError
        No server runs there.
    """
    path = Path(data_root).resolve() / FOLDER / _CONFIGURATION
    try:
        configuration = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CatalogError(
            f"No Tiled server runs for {data_root}; start one, or name the address of yours."
        ) from error
    port = configuration["uvicorn"]["port"]
    key = configuration["authentication"]["single_user_api_key"]
    return open_catalog(f"http://127.0.0.1:{port}", key)
