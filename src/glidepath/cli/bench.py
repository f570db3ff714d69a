"""`glidepath bench`: measure this machine, beside the peers, with the checkout's benchmarks."""

import ast
import json
import os
import platform
import sys
from datetime import datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import errors_as_sentences

PACKAGE = "benchmarks"
"""Name of the folder in the checkout, and of the Python package in it."""

SOFTWARE = (
    "glidepath",
    "aioca",
    "bluesky",
    "bluesky-tiled-plugins",
    "caproto",
    "epicscorelibs",
    "h5py",
    "numpy",
    "ophyd-async",
    "tiled",
)
"""Packages whose versions belong to the result."""


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="Benchmarks to run. Default: all.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results to this file, too.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and shorter measurements: does it run?")
    ] = False,
) -> None:
    """Measure speed and accuracy on this machine, beside the peers."""
    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        folder = benchmarks_folder()
        chosen = choose(folder, names or [])
        if json_file is not None:
            check_writable(json_file)
        modules = [load(folder, name) for name in chosen]
    results: list[dict[str, Any]] = []
    for name, module in zip(chosen, modules, strict=True):
        console.print(f"Measuring {name} ...")
        rows = module.rows(quick=quick)
        console.print(module.table(rows))
        results += [{"benchmark": name, **row} for row in rows]
        if json_file is not None:
            # After each one: the next may fail, and these took minutes.
            document = {"environment": environment(), "results": results}
            json_file.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    if json_file is not None:
        console.print(f"Results  {json_file}", soft_wrap=True)


def benchmarks_folder() -> Path:
    """Return the folder of benchmarks in the checkout that this package runs from.

    Raises
    ------
    ValueError
        If the package was installed without it.
    """
    folder = Path(__file__).resolve().parents[3] / PACKAGE
    if not (folder / "__init__.py").is_file():
        raise ValueError(
            "The benchmarks are not here: this Glidepath was installed without its repository; "
            "run them in a checkout that is installed with pip install --editable."
        )
    return folder


def find_benchmarks(folder: Path) -> list[str]:
    """Return the names of a folder's modules that define ``rows(quick)`` and ``table(rows)``."""
    return [path.stem for path in sorted(folder.glob("*.py")) if _is_benchmark(path)]


def choose(folder: Path, names: list[str]) -> list[str]:
    """Return the benchmarks to run, each once: those named, or all of a folder.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    known = find_benchmarks(folder)
    for name in names:
        if name not in known:
            lacks = ""
            if (folder / f"{name}.py").is_file():
                lacks = f", for {name}.py does not define rows(quick) and table(rows)"
            raise ValueError(
                f"There is no benchmark {name!r}{lacks}; there are {', '.join(known)}."
            )
    return list(dict.fromkeys(names)) or known


def load(folder: Path, name: str) -> Any:
    """Import a benchmark of a folder.

    Raises
    ------
    ValueError
        If it needs a module that is missing.
    """
    parent = str(folder.parent)
    if parent not in sys.path:
        # First: another package of this name may be installed.
        sys.path.insert(0, parent)
    try:
        return import_module(f"{folder.name}.{name}")
    except ImportError as error:
        raise ValueError(
            f"The benchmark {name!r} cannot be run: {error}; install what it needs, "
            "or name the others."
        ) from error


def check_writable(file: Path) -> None:
    """Raise ValueError if a file cannot be written, before minutes are spent on its content."""
    folder = file.absolute().parent
    if file.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise ValueError(
            f"The results cannot be written to {file}; name a file in a folder of yours."
        )


def environment() -> dict[str, Any]:
    """Return what the results depend on: machine, Python, versions, date."""
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in SOFTWARE},
    }


def _is_benchmark(path: Path) -> bool:
    """Look without importing: some need a compiler or minutes of set-up."""
    arguments = {
        node.name: [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    return "quick" in arguments.get("rows", []) and "table" in arguments


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


__all__ = ["bench"]
