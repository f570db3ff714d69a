"""Where the documents of a session's runs go: the journal at once, the catalogue behind it."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bluesky import RunEngine

from glidepath.catalog.left_behind import LeftBehind
from glidepath.catalog.publisher import Publisher
from glidepath.sentences import errors, joined

DRAIN_TIMEOUT = 120.0
"""Seconds that the catalogue has for what is left of the runs: on a busy machine a server that was
just started needs most of a minute before it takes anything."""

_log = logging.getLogger(__name__)


class RunDocuments:
    """Keeps the documents of a run engine in a journal and feeds them to the catalogue.

    Parameters
    ----------
    engine
        The run engine.
    root
        The data directory.
    connect
        Opens the catalogue, in a thread of its own when the first run begins; None: the journal
        only.
    """

    def __init__(self, engine: RunEngine, root: Path, connect: Callable[[], Any] | None) -> None:
        self._engine = engine
        self._root = root
        self._left_behind: LeftBehind | None = None
        self._handed_over: list[str] = []
        self._has_catalogue = connect is not None
        self._said_to_replay = False
        self.publisher = Publisher(root / "journal", connect)
        self._subscription = engine.subscribe(self.publisher)

    def publish_to(self, connect: Callable[[], Any]) -> None:
        """Feed the documents of the runs to come to the catalogue that ``connect`` opens."""
        self._engine.unsubscribe(self._subscription)
        self.publisher.close()
        self.publisher = Publisher(self._root / "journal", connect)
        self._subscription = self._engine.subscribe(self.publisher)
        self._has_catalogue = True

    def hand_over_to(self, left_behind: LeftBehind) -> None:
        """Let another process, which nobody waits for, bring the runs to come into a catalogue."""
        self._left_behind = left_behind
        self._engine.subscribe(self._hand_over, "start")

    def _hand_over(self, name: str, document: Mapping[str, Any]) -> None:
        assert self._left_behind is not None
        uid = document["uid"]
        try:
            self._left_behind.hand_over(uid)
        except OSError as error:
            # The scan goes on; at its end the user is told how to replay it.
            _log.warning("Run %s was not handed over: %s", uid, error)
        self._handed_over.append(uid)

    def _say_refused(self) -> None:
        left_behind = self._left_behind
        if left_behind is None:
            return
        if any(left_behind.is_refused(uid) for uid in self._handed_over):
            self._say_to_replay(left_behind.trouble or "it was not handed over")

    def drain(self, timeout: float = DRAIN_TIMEOUT) -> None:
        """Wait (s) until the catalogue has what it can take, and say what it has not."""
        status = self.publisher.close(timeout)
        self._say_refused()
        if self._has_catalogue and status.to_replay:
            self._say_to_replay(status.error or f"it was not done within {timeout:g} s")

    def _say_to_replay(self, why: str) -> None:
        if self._said_to_replay:
            return
        self._said_to_replay = True
        errors.print(
            f"glidepath: the catalogue did not take the run ({joined(why)}); its documents "
            f"are in {self.publisher.journal}; put them into it with 'glidepath replay --data "
            f"{self._root}'.",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


class SharedCatalogue:
    """Opens the catalogue of a data directory: the user's server, or a local one.

    One local server serves a data directory: it is started or joined here, and stays as long as
    any process uses it.

    Parameters
    ----------
    root
        The data directory.
    uri
        Address of the user's own server; its key is in the environment's ``TILED_API_KEY``.
    database
        PostgreSQL database of the local server's catalogue; None: where it is.
    """

    def __init__(self, root: Path, uri: str | None, database: str | None = None) -> None:
        self._root = root
        self._uri = uri
        self._database = database
        self._server: Any = None

    def begin(self) -> None:
        """Look whether the user's server can be used, or start the local one without waiting.

        Raises
        ------
        CatalogError
            If it cannot be used.
        """
        if self._uri is None:
            self._local()
        else:
            self.open().context.http_client.close()

    def open(self) -> Any:
        """Return a new Tiled client that may write; the caller closes it.

        Raises
        ------
        CatalogError
            If no server can be reached or started.
        """
        from glidepath.catalog import open_catalog

        if self._uri is not None:
            return open_catalog(self._uri, os.environ.get("TILED_API_KEY"), writable=True)
        return self._local().wait_ready().client()

    def close(self) -> None:
        """Stop using the local server; it ends if nobody else does."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _local(self) -> Any:
        from glidepath.catalog import LocalTiledServer

        if self._server is None:
            self._server = LocalTiledServer(self._root, database=self._database)
        return self._server.start()


__all__ = ["RunDocuments", "SharedCatalogue"]
