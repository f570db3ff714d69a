"""What all benchmarks share: compiled helpers, client processes, medians, the machine."""

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.faults.process import Process

REPOSITORY = Path(__file__).parents[1]


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
