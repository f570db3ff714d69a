"""Each promise of docs/reliability.md names a test, or a fault of the matrix, that exists."""

import ast
import re
import sys
from pathlib import Path

from glidepath.cli.bench import benchmarks_folder

sys.path.insert(0, str(benchmarks_folder().parent))

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 30
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        functions = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert not name or name in functions, f"{file} has no {name}"


def test_every_fault_that_is_named_is_in_the_matrix_and_every_one_in_it_is_named():
    from glidepath.faults.laboratory import FAULTS

    named = set(re.findall(r"`fault: ([^`]+)`", PAGE))
    assert named | {"none"} == {fault.name for fault in FAULTS}


def test_every_promise_is_held_by_something():
    tables = re.findall(r"^\| promise \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    promises = [row for table in tables for row in table.splitlines()]
    assert len(promises) > 30
    assert not [row for row in promises if "`tests/" not in row and "`fault: " not in row]
