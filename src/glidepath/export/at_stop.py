"""Exports each run when it stops: in a process of its own, so that the next scan can begin."""

from __future__ import annotations

import logging
import os
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glidepath.storage.lines import ends_with_stop

_log = logging.getLogger(__name__)

JOURNAL_TIMEOUT = 30.0
"""Seconds in which the journal of a run must have its stop document."""

PROCESS_TIMEOUT = 600.0
"""Seconds in which an export must be done."""

NICENESS = 10
"""How far an export stands behind a scan when both want the processor."""

LOG = "export.log"
"""What exports say that nobody waits for."""

_left_running: list[subprocess.Popen[bytes]] = []
"""Processes that go on when this one ends."""


@dataclass(frozen=True)
class Exported:
    """How the export of a run ended.

    Attributes
    ----------
    uid
        The run.
    succeeded
        Whether its files were written.
    said
        What the export said, in lines.
    """

    uid: str
    succeeded: bool
    said: str


class ExportAtStop:
    """Subscribe it to the run engine: ``RE.subscribe(exporter)``.

    A document costs the run engine a comparison of two texts. When a run stops, a thread waits for
    its journal to be complete and starts ``command`` with the journal's path.

    Parameters
    ----------
    journal
        Folder of the journals.
    command
        What to run, without the path; its output is kept.
    after
        Called with each `Exported`, in the thread.
    then
        What the process runs after the export. With it the process is left alone: it ends later
        than this program, and what it says goes to `LOG` beside the journals.
    """

    def __init__(
        self,
        journal: Path,
        command: Sequence[str],
        after: Callable[[Exported], None] | None = None,
        then: Sequence[str] | None = None,
    ) -> None:
        self._journal = Path(journal)
        self._command = list(command)
        self._after = after
        self._then = then
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self._closing = False
        self.done: list[Exported] = []

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never blocks, never fails."""
        if name == "stop":
            self._waiting.put(document["run_start"])
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="export at stop", daemon=True
                )
                self._thread.start()

    def close(self, timeout: float = 30.0) -> bool:
        """Wait (s) until all runs are exported; return whether they are.

        What is not done then is ended; ``glidepath export`` makes it again.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._waiting.put(None)
        thread.join(timeout)
        if not thread.is_alive():
            return True
        self._closing = True
        process = self._process
        if process is not None:
            process.terminate()
        thread.join(5.0)
        return False

    def _work(self) -> None:
        while (uid := self._waiting.get()) is not None and not self._closing:
            exported = self._export(uid)
            self.done.append(exported)
            if not exported.succeeded:
                _log.warning("Run %s was not exported: %s", uid, exported.said)
            if self._after is not None:
                self._after(exported)

    def _export(self, uid: str) -> Exported:
        path = self._journal / f"{uid}.jsonl"
        if not self._wait_complete(path):
            return Exported(uid, False, f"Its journal {path} did not become complete.")
        if self._then is not None:
            return self._left_alone(uid, [*self._command, str(path)], self._then)
        try:
            self._process = subprocess.Popen(
                ["nice", "-n", str(NICENESS), *self._command, str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=os.environ | {"COLUMNS": "1000", "NO_COLOR": "1"},
                # Ctrl-C in the terminal ends the scan; its export goes on.
                start_new_session=True,
            )
            said, _ = self._process.communicate(timeout=PROCESS_TIMEOUT)
            return Exported(uid, self._process.returncode == 0, said.strip())
        except (OSError, subprocess.TimeoutExpired) as error:
            if self._process is not None:
                self._process.kill()
            return Exported(uid, False, f"The export could not be made ({error}).")
        finally:
            self._process = None

    def _left_alone(self, uid: str, command: Sequence[str], then: Sequence[str]) -> Exported:
        """Start both commands, one after the other, in a process that nobody waits for."""
        line = f"{shlex.join(command)}; exec {shlex.join(then)}"
        try:
            with open(self._journal / LOG, "ab") as log:
                _left_running.append(
                    subprocess.Popen(
                        ["nice", "-n", str(NICENESS), "sh", "-c", line],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=os.environ | {"COLUMNS": "1000", "NO_COLOR": "1"},
                        start_new_session=True,
                    )
                )
        except OSError as error:
            return Exported(uid, False, f"The export could not be made ({error}).")
        return Exported(uid, True, "")

    def _wait_complete(self, path: Path) -> bool:
        deadline = time.monotonic() + JOURNAL_TIMEOUT
        while not ends_with_stop(path):
            if self._closing or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


__all__ = ["ExportAtStop", "Exported"]
