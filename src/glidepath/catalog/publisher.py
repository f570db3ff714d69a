"""Takes documents from the run engine at once, keeps them on disk and feeds them to Tiled.

The run engine pays for a copy of one dictionary. Everything else happens in two threads: the
recorder's writes the journal, the feeder's talks to Tiled; the ledger is what they know of the
runs. Whatever happens to Tiled, the scan does not notice and the journal is complete.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.feeder import Feeder
from glidepath.catalog.ledger import Ledger, PublisherStatus
from glidepath.catalog.recorder import Recorder

_log = logging.getLogger(__name__)


class Publisher:
    """Subscribe it to the run engine: ``RE.subscribe(publisher)``.

    Parameters
    ----------
    journal
        Folder of the journals.
    connect
        Returns a new Tiled client that may write, which the publisher closes; called in the
        publisher's own thread when a run starts and there is no connection. None: keep the
        journal only.
    queue_limit
        So many documents may wait for Tiled. When there are more, the run is given up there and
        is to be replayed; its journal stays complete.

    Examples
    --------
    >>> server = LocalTiledServer(root).start()  # doctest: +SKIP
    >>> publisher = Publisher(root / "journal", server.client)  # doctest: +SKIP
    >>> RE.subscribe(publisher)  # doctest: +SKIP
    """

    def __init__(
        self,
        journal: Path,
        connect: Callable[[], Any] | None = None,
        *,
        queue_limit: int = 100_000,
    ) -> None:
        self.journal = Path(journal)
        self._ledger = Ledger(self.journal, connect is not None, queue_limit)
        self._recorder = Recorder(self.journal, self._ledger)
        self._feeder = Feeder(self.journal, self._ledger, connect)
        self._closed = False
        self._threads = [
            threading.Thread(target=self._recorder.work, name="document journal", daemon=True),
            threading.Thread(target=self._feeder.work, name="document feed", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take one document; a few microseconds, never blocks, never fails."""
        if self._closed:
            raise CatalogError("This publisher is closed; make a new one and subscribe that.")
        if name == "start":
            self._ledger.begin(doc["uid"])
        self._recorder.take(name, doc)

    @property
    def status(self) -> PublisherStatus:
        """How the documents fare just now."""
        return self._ledger.status

    def wait_published(self, uid: str, timeout: float = 30.0) -> bool:
        """Wait until a run is complete in Tiled.

        Parameters
        ----------
        uid
            The run.
        timeout
            Seconds to wait at most.

        Returns
        -------
        bool
            True if it is there; False if it is not yet, or has to be replayed.
        """
        return self._ledger.wait_published(uid, timeout)

    def close(self, timeout: float = 10.0) -> PublisherStatus:
        """Take no more documents, write what has come, and end the threads.

        Parameters
        ----------
        timeout
            Seconds to wait at most. What Tiled has not taken then is to be replayed.

        Returns
        -------
        PublisherStatus
            The last status.
        """
        deadline = time.monotonic() + timeout
        self._closed = True
        self._recorder.close()
        atexit.unregister(self.close)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._threads[1].is_alive():
            unfinished = self._ledger.abandon()
            if unfinished:
                _log.warning(
                    "Tiled did not take all documents within %g s; to be replayed: %s.",
                    timeout,
                    ", ".join(unfinished),
                )
        return self.status


__all__ = ["Publisher", "PublisherStatus"]
