"""Client processes that are told things in lines and answer in lines."""

import contextlib
import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ANSWER_TIMEOUT = 60.0
EXIT_TIMEOUT = 5.0
"""Seconds that a client process gets to answer, and to end."""


class Process:
    """A process that is told things in lines on its input and answers in lines.

    A context manager: the process has ended when the block is left.

    Parameters
    ----------
    command
        Program and arguments; a Python module is run as ``[sys.executable, "-m", ...]``.
    environment
        Added to this process's environment, from which other ``EPICS_`` settings are removed.
    errors
        File for its standard error; None: this process's.
    folder
        Where it runs; None: where this process does.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        errors: IO[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("EPICS_")}
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            cwd=folder,
            env=clean | dict(environment),
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def tell(self, line: str) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def answers(self, timeout: float) -> bool:
        """Return True when there is something to read, False if not within the timeout."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], timeout)[0])

    def answer(self, timeout: float = ANSWER_TIMEOUT) -> str:
        """Wait for one line.

        Raises
        ------
        RuntimeError
            If the process ended instead, or says nothing within the timeout in seconds.
        """
        assert self._process.stdout is not None
        if not self.answers(timeout):
            raise RuntimeError(f"{self._process.args!r} said nothing for {timeout:g} s.")
        line = self.line()
        if not line:
            raise RuntimeError(
                f"{self._process.args!r} ended with status {self._process.wait()}; "
                "what it said is above."
            )
        return line

    def line(self) -> str:
        """Return the next line, however long it takes; empty when the process has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def ask(self, line: str) -> str:
        """Send one line and wait for the answer."""
        self.tell(line)
        return self.answer()

    def __enter__(self) -> "Process":
        return self

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


__all__ = ["Process"]
