"""Tables of benchmarks fit a terminal of eighty columns, and every figure is whole."""

import re
from importlib import import_module

import pytest
from rich.console import Console

from glidepath.cli.bench import benchmarks_folder, find_benchmarks

PAGE = benchmarks_folder().parent / "docs" / "benchmarks.md"

TITLES = {"lookback": "Looking back"}
"""Where the page calls a benchmark by another name."""

COLD_START = [{"what": "from Enter to the axis moving", "median_s": 2.113, "slowest_s": 12.38}]


def cell(text):
    """Return what a cell of the page was made from, as exactly as the page has it."""
    if text in ("-", "True", "False"):
        return {"-": None, "True": True, "False": False}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def tables_of(name):
    """Return the tables of a benchmark's section of the page, each as a list of rows."""
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", section, re.M):
        keys, _, *lines = [
            [part.strip() for part in line.strip("|").split("|")] for line in block.splitlines()
        ]
        found.append([dict(zip(keys, map(cell, line), strict=True)) for line in lines])
    return found


def rows_of(name):
    """Return rows as a benchmark measured them: those on the page."""
    if name == "cold_start":  # the page has figures of two releases there
        return [{**row, "repeats": 5} for row in COLD_START]
    first, *others = tables_of(name)
    if name != "triggered":
        return first
    return first + [row for rows in others for row in rows if {"fault", "scan"} & set(row)]


def test_every_benchmark_has_rows_on_the_page():
    assert {"views", "storage", "lookback"} <= set(find_benchmarks(benchmarks_folder()))
    assert all(map(rows_of, find_benchmarks(benchmarks_folder())))


@pytest.mark.parametrize("name", find_benchmarks(benchmarks_folder()))
def test_no_figure_is_cut_at_eighty_columns(name):
    console = Console(width=80)

    with console.capture() as capture:
        console.print(import_module(f"benchmarks.{name}").table(rows_of(name)))

    printed = capture.get()
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    # Wide enough: nothing is folded inside a word or a number either.
    wide = Console(width=400)
    with wide.capture() as capture:
        wide.print(import_module(f"benchmarks.{name}").table(rows_of(name)))
    numbers = re.findall(r"(?<![\w.])[-+]?\d[\d.e+-]*%?", capture.get())
    assert numbers
    assert [number for number in numbers if number not in printed] == []
