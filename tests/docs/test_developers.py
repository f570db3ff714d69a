"""The table of steps leads to files that exist, and the site has every page."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "developers.md").read_text()
PACKAGE = ROOT / "src" / "glidepath"


def steps():
    """Return the files that the tables of steps name, as paths in the package."""
    rows = re.findall(r"^\| [^|]+ \| ([^|]*/[^|]*) \|$", PAGE, re.MULTILINE)
    for row in rows:
        folder = ""
        for name in re.findall(r"`([\w/]+(?:/|\.py|\.c))`", row):
            # A name without a folder is in the folder of the one before it.
            folder = name.rpartition("/")[0] if "/" in name else folder
            yield name if "/" in name else f"{folder}/{name}"


def test_each_step_of_a_scan_is_a_file_that_exists():
    found = list(steps())
    assert len(found) > 30
    assert [name for name in found if not (PACKAGE / name).exists()] == []


def test_each_package_is_on_a_floor():
    table = PAGE[PAGE.index("## The floors") : PAGE.index("## Working on it")]
    named = set(re.findall(r"`(\w+)`", table))
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages - named == set()


def test_the_site_has_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE))
    pages = (ROOT / "docs").rglob("*.md")
    assert {str(page.relative_to(ROOT / "docs")) for page in pages} == listed
