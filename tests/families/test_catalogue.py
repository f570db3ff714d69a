"""The table of the families in the documentation is what the code says."""

from pathlib import Path

from glidepath.devices.families.catalogue import table

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"


def test_the_table_in_the_documentation_is_the_generated_one():
    assert table() in PAGE.read_text()
