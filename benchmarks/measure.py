"""What all benchmarks share: compiled helpers, client processes, medians, the machine."""

import contextlib
import hashlib
import os
import select
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

REPOSITORY = Path(__file__).parents[1]

ANSWER_TIMEOUT = 60.0
EXIT_TIMEOUT = 5.0
"""Seconds that a client process gets to answer, and to end."""


def compiled(source: Path, *, shared: bool) -> Path:
    """Compile a C source against the EPICS libraries that the Python packages carry.

    Parameters
    ----------
    source
        File beside this one.
    shared
        Make a shared library, otherwise a program.

    Returns
    -------
    Path
        In the user's cache; compiled again only when the source has changed.

    Raises
    ------
    RuntimeError
        If there is no C compiler, or it does not accept the source.
    """
    from epicscorelibs import path
    from setuptools_dso import find_dso

    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise RuntimeError(
            "The benchmarks need a C compiler (cc, gcc or clang) for their load server and for "
            "the libca client; install one, such as the package gcc."
        )
    libraries = [find_dso(f"epicscorelibs.lib.{name}") for name in ("dbCore", "ca", "Com")]
    stamp = version("epicscorelibs") + libraries[0] + source.read_text()
    digest = hashlib.sha256(stamp.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "glidepath"
    target = cache / f"{source.stem}-{digest}{'.so' if shared else ''}"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    command = [
        *(compiler, "-O2", "-std=gnu11", "-o", str(unfinished), str(source)),
        *(("-shared", "-fPIC") if shared else ()),
        f"-I{path.include_path}",
        *libraries,
        f"-Wl,-rpath,{Path(libraries[0]).parent}",
        "-lm",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{source.name} cannot be compiled: {done.stderr.strip()[-500:]}")
    unfinished.replace(target)
    return target


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
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        errors: IO[str] | None = None,
    ) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("EPICS_")}
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            cwd=REPOSITORY,
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


def python_module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this folder in a process of its own."""
    return [sys.executable, "-m", f"benchmarks.{name}", *arguments]


def median_row(rows: Sequence[Mapping[str, Any]], numbers: Iterable[str]) -> dict[str, Any]:
    """Return the first row with some of its numbers replaced by the medians over all rows."""
    return {**rows[0], **{key: statistics.median(row[key] for row in rows) for key in numbers}}


def lost_of(values: Sequence[float] | NDArray[np.float64]) -> int:
    """Return how many values of a counter that steps by one are missing in what was received."""
    return round(values[-1] - values[0]) + 1 - len(values) if len(values) else 0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its threads so far, in seconds (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int | str = "self") -> float:
    """Return how much memory a process holds, in MB (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


__all__ = [
    "Process",
    "compiled",
    "cpu_seconds",
    "lost_of",
    "median_row",
    "python_module",
    "resident_megabytes",
]
