"""A class that is long says why, in its docstring: "The class is long because ..."."""

import ast
from pathlib import Path

import pytest

import glidepath

LONG = 400
REASON = "The class is long because"
PACKAGE = Path(glidepath.__file__).parent


def long_without_a_reason(text: str) -> list[str]:
    """Return the classes of a module that are too long and do not say why."""
    return [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and node.end_lineno - node.lineno + 1 > LONG
        and REASON not in " ".join((ast.get_docstring(node) or "").split())
    ]


def test_each_long_class_says_why():
    found = {
        str(path.relative_to(PACKAGE)): classes
        for path in PACKAGE.rglob("*.py")
        if (classes := long_without_a_reason(path.read_text()))
    }
    assert not found, "split it, or say why in its docstring"


@pytest.mark.parametrize(
    ("docstring", "lines", "found"),
    [
        ("One.", LONG - 2, []),
        ("One.", LONG, [f"One has {LONG + 2} lines"]),
        ("The class is\n    long because it has to be.", LONG, []),
    ],
)
def test_what_is_too_long(docstring, lines, found):
    text = f'class One:\n    """{docstring}"""\n' + "    a = 1\n" * lines
    assert long_without_a_reason(text) == found
