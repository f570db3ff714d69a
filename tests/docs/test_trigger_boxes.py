"""The page on trigger boxes says what is set, and only that."""

import re
from pathlib import Path

from glidepath.flyers.triggers.panda_fields import NEUTRAL

PAGE = Path(__file__).parents[2] / "docs" / "trigger-boxes.md"


def test_the_table_of_neutral_fields_is_the_one_that_scans_use():
    rows = re.findall(r"^\| ([A-Z]+) \| (\S+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(neutral.block, neutral.field, neutral.why) for neutral in NEUTRAL]
